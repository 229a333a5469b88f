"""What a job by hand runs with: a role that is named, the deployment's, or the one that a notebook has."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from facetrain.by_hand import sdk
from facetrain.by_hand.image import region_of, repository_of
from facetrain.by_hand.order import Checked
from facetrain.client import Connection, code, discover, explain
from facetrain.errors import InputError, OperationError
from training.jobs.platform import Platform

STAGE = "by-hand"  # in the job's tags, where no deployment takes part
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/\S+")
# Studio and notebook instances describe themselves here. Elsewhere the SDK takes the caller for the role.
NOTEBOOK = Path("/opt/ml/metadata/resource-metadata.json")

Note = Callable[[str], None]


def platform_of(checked: Checked, connection: Connection, stage: str) -> Platform:
    """The platform of this one job. Raises InputError where there is none."""
    if role := checked.order.role:
        return _by_hand(checked, _arn(role, connection), connection.region)
    deployed = _deployment(connection, stage)
    if deployed is not None:
        return _deployed(checked, deployed)
    if NOTEBOOK.exists():
        return _by_hand(checked, sdk.execution_role(connection), connection.region)
    raise InputError.because(
        "--role",
        f'is missing, and there is no deployment "{stage}" in {connection.region} whose role could be taken: '
        "name the role that SageMaker shall work with (docs/by-hand.md says what it must allow)",
    )


def made_up(checked: Checked, connection: Connection, stage: str, note: Note) -> Platform:
    """The same for a dry run: what cannot be looked up is made up, and `note` is told."""
    role = checked.order.role
    if role and _ROLE.fullmatch(role):
        return _by_hand(checked, role, connection.region)
    try:
        return platform_of(checked, connection, stage)
    except (BotoCoreError, ClientError) as error:
        note(f"no role could be looked up, so the one shown is made up ({explain(error)})")
    name = role or f"facetrain-{stage}-training"
    return _by_hand(checked, f"arn:aws:iam::{'0' * 12}:role/{name}", connection.region)


def _deployment(connection: Connection, stage: str) -> Platform | None:
    """None where there is none, or none that these credentials may see."""
    try:
        return discover(connection, stage).platform
    except OperationError:
        return None
    except ClientError as error:
        if code(error) == "AccessDeniedException":
            return None
        raise


def _by_hand(checked: Checked, role_arn: str, region: str | None) -> Platform:
    if checked.results is None:
        raise InputError.because(
            "--output", "is missing: name the S3 folder for the results, or an inputs folder with --inputs"
        )
    _check_region(checked.image, region)
    match = _ROLE.fullmatch(role_arn)
    return Platform(
        stage=STAGE,
        region=region or "",
        account=match[1] if match else "",
        role_arn=role_arn,
        images={checked.algorithm: checked.image},
        inputs_bucket=checked.location.bucket,
        outputs_bucket=checked.results.bucket,
        job_prefix=checked.order.base_job_name,
        results=str(checked.results),
    )


def _deployed(checked: Checked, deployed: Platform) -> Platform:
    """A deployment's role reads, writes, pulls and runs only what is the deployment's."""
    _check_region(checked.image, deployed.region)
    if checked.algorithm not in deployed.images:
        raise InputError.because(
            "--algorithm",
            f'deployment "{deployed.stage}" has no image for {checked.algorithm}: name a --role',
        )
    own = repository_of(deployed.images[checked.algorithm])
    if repository_of(checked.image) != own:
        raise InputError.because(
            "--role",
            f'is missing: the role of deployment "{deployed.stage}" may pull {own} alone, and the image is '
            f"{repository_of(checked.image)}: name another role, or push with ./build-and-push.sh {own}",
        )
    if checked.output is not None:
        raise InputError.because(
            "--output",
            f'is for jobs with a role of their own (--role): deployment "{deployed.stage}" writes to '
            f"s3://{deployed.outputs_bucket}/ alone",
        )
    prefix = f"{deployed.job_prefix}-{checked.order.base_job_name}"
    return dataclasses.replace(deployed, images={checked.algorithm: checked.image}, job_prefix=prefix)


def _check_region(image: str, region: str | None) -> None:
    other = region_of(image)
    if region and other and other != region:
        raise InputError.because(
            "--image",
            f"lies in {other}, but the job would run in {region}: set AWS_REGION={other}, or push it there",
        )


def _arn(role: str, connection: Connection) -> str:
    """The role's ARN; a bare name is looked up."""
    if role.startswith("arn:"):
        if _ROLE.fullmatch(role):
            return role
        raise InputError.because(
            "--role", f'"{role}" is no role: write arn:aws:iam::ACCOUNT:role/NAME, or its name'
        )
    try:
        return str(connection.client("iam").get_role(RoleName=role)["Role"]["Arn"])
    except ClientError as error:
        if code(error) == "NoSuchEntity":
            raise InputError.because("--role", f'there is no role "{role}" in this account') from None
        raise
