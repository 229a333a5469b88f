"""The role of a training job: read its inputs, write its outputs, log, measure, pull its image. No more."""

from collections.abc import Iterator, Sequence

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra import names
from infra.components.explained import explain_wildcards
from infra.components.statements import (
    SAGEMAKER,
    allow,
    bucket_arns,
    list_prefixes,
    put_metrics,
    training_job_arn,
    use_key_through,
)
from infra.settings import Settings
from training.jobs import contract

# Why a statement holds a wildcard, by its Sid.
WILDCARDS = {
    "ReadInputs": "Datasets come and go, below one prefix; below another lies who is forgotten.",
    "ReadAllowedBuckets": "The settings name these buckets for datasets.",
    "WriteOutputs": "Each job writes below its own name, which is known only once it starts.",
    "ResumeAndPruneCheckpoints": "Each job keeps its checkpoints below its own name.",
    "WriteLogs": "SageMaker names a stream after its job and instance.",
    "WriteMetrics": "PutMetricData knows no resources; the namespace is limited instead.",
    "LogInToRegistry": "GetAuthorizationToken knows no resources; pulling is limited to the repository.",
    "ManageInterfaces": "EC2 names an interface when it makes it; the subnets are limited instead.",
    "DescribeNetwork": "These Describe calls know no resources.",
}
PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


class ExecutionRole(iam.Role):
    """What SageMaker does on behalf of a job of this deployment.

    repositories: ARNs of those that hold images.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        inputs: s3.IBucket,
        outputs: s3.IBucket,
        key: kms.IKey,
        repositories: Sequence[str],
    ) -> None:
        super().__init__(
            scope,
            name,
            role_name=names.training_role(settings.stage),
            description="What a training job of Facetrain may do",
            assumed_by=_trusted(Stack.of(scope), settings),
        )
        statements = [
            *_inputs(Stack.of(self), inputs, settings),
            *_outputs(outputs),
            *_key(key),
            *_logs(Stack.of(self), settings),
            put_metrics("WriteMetrics", contract.METRICS_NAMESPACE),
            allow("PullImage", PULL, repositories),
            allow("LogInToRegistry", ["ecr:GetAuthorizationToken"], ["*"]),
            *(_network(Stack.of(self), settings) if settings.subnets else ()),
        ]
        self.policy = iam.Policy(self, "Policy", statements=statements, roles=[self])
        explain_wildcards(self.policy, WILDCARDS)


def _trusted(stack: Stack, settings: Settings) -> iam.IPrincipal:
    """SageMaker, for training jobs of this deployment in this account: nobody else's, by no detour.

    https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html
    On one machine the account itself as well: the training service there is a client like any other.
    """
    service = iam.ServicePrincipal(
        SAGEMAKER,
        conditions={
            "StringEquals": {"aws:SourceAccount": stack.account},
            "ArnLike": {"aws:SourceArn": training_job_arn(stack, settings.job_prefix)},
        },
    )
    return iam.CompositePrincipal(service, iam.AccountRootPrincipal()) if settings.local else service


def _inputs(stack: Stack, inputs: s3.IBucket, settings: Settings) -> Iterator[iam.PolicyStatement]:
    read = (contract.INPUTS_PREFIX, contract.FORGOTTEN_PREFIX)
    objects = [inputs.arn_for_objects(f"{prefix}*") for prefix in read]
    yield allow("ReadInputs", ["s3:GetObject"], objects)
    yield list_prefixes("ListInputs", inputs, *read)
    if settings.allowed_buckets:
        arns = bucket_arns(stack, settings.allowed_buckets)
        yield allow("ReadAllowedBuckets", ["s3:GetObject"], [f"{arn}/*" for arn in arns])
        yield allow("ListAllowedBuckets", ["s3:ListBucket"], arns)


def _outputs(outputs: s3.IBucket) -> Iterator[iam.PolicyStatement]:
    """Checkpoints go both ways, and one that the job deletes is deleted in S3 too.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
    """
    models = outputs.arn_for_objects(f"{contract.OUTPUTS_PREFIX}*")
    checkpoints = outputs.arn_for_objects(f"{contract.CHECKPOINTS_PREFIX}*")
    yield allow("WriteOutputs", ["s3:PutObject", "s3:AbortMultipartUpload"], [models, checkpoints])
    yield allow("ResumeAndPruneCheckpoints", ["s3:GetObject", "s3:DeleteObject"], [checkpoints])
    yield list_prefixes("ListOutputs", outputs, contract.OUTPUTS_PREFIX, contract.CHECKPOINTS_PREFIX)


def _key(key: kms.IKey) -> Iterator[iam.PolicyStatement]:
    """kms:Encrypt is what CreateTrainingJob documents for OutputDataConfig.KmsKeyId."""
    actions = ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey")
    yield use_key_through("UseDataKeyThroughS3", key, "s3", *actions)


def _logs(stack: Stack, settings: Settings) -> Iterator[iam.PolicyStatement]:
    """One log group of the account holds all jobs' streams; a stream's name begins with its job's.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html asks for
    the group to make a stream and for the stream to write to it. The group's bare ARN matches no stream.
    """
    group = stack.format_arn(
        service="logs",
        resource="log-group",
        resource_name=contract.LOG_GROUP,
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    streams = f"{group}:log-stream:{settings.job_prefix}-*"
    yield allow("FindLogs", ["logs:CreateLogGroup", "logs:DescribeLogStreams"], [group])
    yield allow("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [group, streams])


def _network(stack: Stack, settings: Settings) -> Iterator[iam.PolicyStatement]:
    """The network interfaces of jobs in a VPC, in the configured subnets.

    https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html (CreateTrainingJob, private VPC)
    """
    subnets = [_ec2(stack, "subnet", subnet) for subnet in settings.subnets]
    groups = [_ec2(stack, "security-group", group) for group in settings.security_groups]
    interfaces = _ec2(stack, "network-interface", "*")
    only_there = {"ArnEqualsIfExists": {"ec2:Subnet": subnets}}
    yield allow("MakeInterfaces", ["ec2:CreateNetworkInterface"], [*subnets, *groups])
    yield allow(
        "ManageInterfaces",
        [
            "ec2:CreateNetworkInterface",
            "ec2:CreateNetworkInterfacePermission",
            "ec2:DeleteNetworkInterface",
            "ec2:DeleteNetworkInterfacePermission",
        ],
        [interfaces],
        only_there,
    )
    yield allow(
        "DescribeNetwork",
        [
            "ec2:DescribeDhcpOptions",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
        ],
        ["*"],
    )


def _ec2(stack: Stack, resource: str, name: str) -> str:
    return stack.format_arn(service="ec2", resource=resource, resource_name=name)
