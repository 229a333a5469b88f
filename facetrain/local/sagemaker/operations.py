"""What each operation does, once its caller is known, allowed, and its request well formed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from facetrain.local.sagemaker import rules
from facetrain.local.sagemaker.authorize import PULL_ACTIONS, Authority, Caller, role_may_pull
from facetrain.local.sagemaker.aws import Client, Clients, Role, error_text, trusts_sagemaker
from facetrain.local.sagemaker.channels import first_item, no_objects
from facetrain.local.sagemaker.errors import ServiceError, ValidationError
from facetrain.local.sagemaker.images import IMAGE
from facetrain.local.sagemaker.jobs import Jobs
from facetrain.local.sagemaker.listing import list_jobs
from facetrain.local.sagemaker.registry import Registry
from facetrain.local.sagemaker.runner import Runner
from facetrain.local.sagemaker.states import FINISHED, Record, new_record
from facetrain.local.sagemaker.store import NameTakenError
from training.jobs.contract import TAGS_LIMIT
from training.jobs.uri import S3Uri

Input = Mapping[str, Any]
# The modelled ResourceNotFound is not what the service answers: github.com/boto/boto3/issues/2808
NOT_FOUND = "Requested resource not found."
REJECTED = "The request was rejected because"
JOB_RESOURCE = ":training-job/"


@dataclass(frozen=True)
class Operations:
    """`quotas`: how many instances of a type may be in use at once; a type that is not named has no limit."""

    registry: Registry
    jobs: Jobs
    runner: Runner
    authority: Authority
    cloud: Clients
    region: str
    quotas: Mapping[str, int]

    def create_training_job(self, caller: Caller, request: Input) -> dict[str, Any]:
        rules.check_request(request)
        name = request["TrainingJobName"]
        taken = self.registry.store.get(name)
        if taken is not None:
            raise _in_use(taken)
        role = self._role(request["RoleArn"])
        self._check_image(caller, request)
        self._check_inputs(role.client("s3"), request)
        self._check_output(request)
        self._check_quota(request["ResourceConfig"])
        record = new_record(request, job_arn(self.region, caller.account, name), self.registry.clock())
        try:
            self.registry.create(record, {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())})
        except NameTakenError as error:
            raise _in_use(error.record) from error
        self.jobs.submit(name)
        return {"TrainingJobArn": record["TrainingJobArn"]}

    def describe_training_job(self, _caller: Caller, request: Input) -> dict[str, Any]:
        return self._job(request["TrainingJobName"])

    def list_training_jobs(self, _caller: Caller, request: Input) -> dict[str, Any]:
        return list_jobs(self.registry.store.all(), request)

    def stop_training_job(self, _caller: Caller, request: Input) -> dict[str, Any]:
        name = request["TrainingJobName"]
        if not self.jobs.stop(self._job(name)["TrainingJobName"]):
            status = self._job(name)["TrainingJobStatus"]
            raise ValidationError(f"{REJECTED} the training job is in status {status}.")
        return {}

    def add_tags(self, _caller: Caller, request: Input) -> dict[str, Any]:
        for problem in rules.tag_problems(request["Tags"]):
            raise ValidationError(problem)
        name = self._tagged(request)
        added = {tag["Key"]: tag["Value"] for tag in request["Tags"]}

        def change(tags: dict[str, str]) -> dict[str, str]:
            if len(tags | added) > TAGS_LIMIT:
                raise ValidationError(f"A resource can have at most {TAGS_LIMIT} tags")
            return tags | added

        return {"Tags": _listed(self.registry.store.set_tags(name, change))}

    def delete_tags(self, _caller: Caller, request: Input) -> dict[str, Any]:
        gone = set(request["TagKeys"])

        def change(tags: dict[str, str]) -> dict[str, str]:
            return {key: value for key, value in tags.items() if key not in gone}

        self.registry.store.set_tags(self._tagged(request), change)
        return {}

    def list_tags(self, _caller: Caller, request: Input) -> dict[str, Any]:
        """All tags: a page holds at least 50, and a job has no more."""
        return {"Tags": _listed(self.registry.store.tags(self._tagged(request)))}

    def _job(self, name: str) -> Record:
        record = self.registry.store.get(name)
        if record is None:
            raise ValidationError(NOT_FOUND)
        return record

    def _tagged(self, request: Input) -> str:
        arn = request["ResourceArn"]
        name = arn.partition(JOB_RESOURCE)[2]
        if self._job(name)["TrainingJobArn"] != arn:
            raise ValidationError(NOT_FOUND)
        return str(name)

    def _role(self, arn: str) -> Role:
        """The execution role, assumed. It must trust SageMaker too, which is all that AWS looks at."""
        try:
            name = arn.rpartition("/")[2]
            trust = self.cloud.client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
            if trusts_sagemaker(trust):
                return self.cloud.role(arn)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"NoSuchEntity", "AccessDenied"}:
                raise
        raise ValidationError(
            f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
            "'sagemaker.amazonaws.com' to assume the role."
        )

    def _check_image(self, caller: Caller, request: Input) -> None:
        image, arn = request["AlgorithmSpecification"]["TrainingImage"], request["RoleArn"]
        match = IMAGE.fullmatch(image)
        assert match is not None  # rules.check_request has seen to it
        registry, repository = match["registry"] or caller.account, match["repository"]
        refusal = self.runner.refusal(image)
        if refusal is not None:
            raise ValidationError(f"Cannot find the requested image: {image} ({refusal})")
        resource = f"arn:aws:ecr:{match['region'] or self.region}:{registry}:repository/{repository}"
        if not role_may_pull(self.authority, arn, resource):
            raise ValidationError(
                f"Access denied for repository: {repository} in registry ID: {registry}. Please check if your"
                f" ECR repository and image exist and role {arn} has proper pull permissions for SageMaker: "
                + ", ".join(PULL_ACTIONS)
            )

    def _check_inputs(self, s3: Client, request: Input) -> None:
        """Every channel must have an object that the role can list."""
        for channel in request.get("InputDataConfig", ()):
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
            try:
                found = first_item(s3, S3Uri.parse(uri))
            except ClientError as error:
                if error.response["Error"]["Code"] == "NoSuchBucket":
                    found = False
                else:
                    raise ValidationError(f"{error_text(error)} (listing {uri})") from error
            if not found:
                raise ValidationError(no_objects(uri, self.region, request["RoleArn"]))

    def _check_output(self, request: Input) -> None:
        uri = S3Uri.parse(request["OutputDataConfig"]["S3OutputPath"])
        try:
            self.cloud.client("s3").head_bucket(Bucket=uri.bucket)
        except ClientError as error:
            raise ValidationError(f"The specified output bucket does not exist: {uri.bucket}") from error

    def _check_quota(self, resources: Input) -> None:
        kind, wanted = resources["InstanceType"], resources["InstanceCount"]
        limit = self.quotas.get(kind)
        used = sum(
            record["ResourceConfig"]["InstanceCount"]
            for record in self.registry.store.all()
            if record["TrainingJobStatus"] not in FINISHED
            and record["ResourceConfig"]["InstanceType"] == kind
        )
        if limit is not None and used + wanted > limit:
            raise ServiceError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{kind} for training job usage' is {limit} Instances, with "
                f"current utilization of {used} Instances and a request delta of {wanted} Instances. Please "
                "use AWS Service Quotas to request an increase for this quota. If AWS Service Quotas is not "
                "available, contact AWS support to request an increase for this quota.",
            )


def job_arn(region: str, account: str, name: str) -> str:
    return f"arn:aws:sagemaker:{region}:{account}{JOB_RESOURCE}{name}"


def _in_use(record: Record) -> ServiceError:
    return ServiceError(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job with this "
        f"name already exists ({record['TrainingJobArn']})",
    )


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
