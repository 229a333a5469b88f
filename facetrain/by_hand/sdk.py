"""The SageMaker Python SDK, version 3: an optional extra, imported only where a job is created with it."""

# ruff: noqa: PLC0415 - the SDK takes seconds to import, and may not be installed

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from botocore.exceptions import ClientError

from facetrain.client import Connection, code
from facetrain.errors import InputError, OperationError

VERSION = 3
INSTALL = "`uv pip install -e '.[sdk]' -c constraints.txt`"


def require() -> None:
    """Raises OperationError where the SDK is missing or of another version."""
    try:
        version = metadata.version("sagemaker")
    except metadata.PackageNotFoundError:
        raise OperationError(
            f"the SageMaker Python SDK is not installed: {INSTALL} installs it; --dry-run and "
            "--instance-type local work without it"
        ) from None
    if int(version.partition(".")[0]) < VERSION:
        raise OperationError(f"version {version} of the SageMaker Python SDK is too old: {INSTALL}")


def create(request: Mapping[str, Any], connection: Connection) -> str:
    """Starts the job of exactly this request, and gives its ARN.

    `TrainingJob` and not `ModelTrainer`, which makes a request of its own: other names, tags and folders.
    Raises InputError where SageMaker finds the request wrong, OperationError where the name is taken or the
    quota used up.
    """
    require()
    from sagemaker.core.resources import TrainingJob
    from sagemaker.core.utils.code_injection.codec import transform

    arguments = transform(dict(request), "CreateTrainingJobRequest")  # PascalCase to the SDK's own names
    try:
        job = TrainingJob.create(**arguments, session=connection.session, region=connection.region)
    except ClientError as error:
        if refusal := _refusal(error, request):
            raise refusal from None
        raise
    return str(job.training_job_arn)


def execution_role(connection: Connection) -> str:
    """The role of the notebook that this runs in."""
    require()
    from sagemaker.core.helper.session_helper import Session, get_execution_role

    return str(get_execution_role(Session(boto_session=connection.session)))


def _refusal(error: ClientError, request: Mapping[str, Any]) -> Exception | None:
    if error.operation_name != "CreateTrainingJob":
        return None
    message = error.response.get("Error", {}).get("Message", "").rstrip(". ")
    machines, name = request["ResourceConfig"], request["TrainingJobName"]
    match code(error):
        case "ResourceInUse":
            return OperationError(
                f'a training job "{name}" exists already: run the command again for a new name'
            )
        case "ResourceLimitExceeded":
            spot = "spot " if request["EnableManagedSpotTraining"] else ""
            return OperationError(
                f"no quota for {machines['InstanceCount']} {spot}{machines['InstanceType']}: ask for more "
                f"under Service Quotas, or name another --instance-type ({message})"
            )
        case "ValidationException":
            return InputError.because("SageMaker", f"refuses the job: {message}")
    return None
