"""The launcher's role: read manifests, answer beside them, start jobs of this deployment with their role."""

from collections.abc import Iterator
from dataclasses import dataclass

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
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
    "ReadInputs": "Datasets come and go; all of them lie below this prefix.",
    "ReadTrainArgs": "The settings name these buckets for datasets, wherever in them a dataset lies.",
    "WriteAndClearRejections": "One file name, beside whichever manifest was refused.",
    "WriteJobRecords": "One file name, in the folder of whichever job was started.",
    "StartJobs": "A job's name is made from its manifest; all of them begin with the deployment's prefix.",
    "CountOutcomes": "PutMetricData knows no resources; the namespace is limited instead.",
    "WriteOwnLog": "The streams of the function's own log group.",
}


@dataclass(frozen=True)
class Reach:
    """What the launcher works with."""

    inputs: s3.IBucket
    outputs: s3.IBucket
    key: kms.IKey
    queue: sqs.IQueue
    topic: sns.ITopic
    topic_key: kms.IKey
    log_group: logs.ILogGroup
    training_role: iam.IRole


class LauncherRole(iam.Role):
    """Everything the function may do; no managed policy adds to it."""

    def __init__(self, scope: Construct, name: str, *, settings: Settings, reach: Reach) -> None:
        super().__init__(
            scope,
            name,
            role_name=names.launcher_role(settings.stage),
            description="What the launcher of training jobs may do",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        stack = Stack.of(self)
        statements = [
            *_read(stack, settings, reach),
            *_answer(reach),
            *_start(stack, settings, reach),
            *_report(reach),
            *_queue(reach),
            allow(
                "WriteOwnLog",
                ["logs:CreateLogStream", "logs:PutLogEvents"],
                [f"{reach.log_group.log_group_arn}:*"],
            ),
        ]
        self.policy = iam.Policy(self, "Policy", statements=statements, roles=[self])
        explain_wildcards(self.policy, WILDCARDS)


def _read(stack: Stack, settings: Settings, reach: Reach) -> Iterator[iam.PolicyStatement]:
    """A manifest in the version that the event names, and what lies where its channels point."""
    objects = reach.inputs.arn_for_objects(f"{contract.INPUTS_PREFIX}*")
    yield allow("ReadInputs", ["s3:GetObject", "s3:GetObjectVersion"], [objects])
    # Of the deletion list it sees that it is there: to read it is for the job.
    yield list_prefixes("ListInputs", reach.inputs, contract.INPUTS_PREFIX, contract.FORGOTTEN_PREFIX)
    if settings.allowed_buckets:
        arns = bucket_arns(stack, settings.allowed_buckets)
        yield allow("ListAllowedBuckets", ["s3:ListBucket"], arns)
        yield allow("ReadTrainArgs", ["s3:GetObject"], [f"{arn}/*{contract.TRAIN_ARGS_NAME}" for arn in arns])


def _answer(reach: Reach) -> Iterator[iam.PolicyStatement]:
    """The rejection beside a manifest, removed once that is corrected, and the record of a started job."""
    rejections = reach.inputs.arn_for_objects(f"{contract.INPUTS_PREFIX}*/{contract.REJECTION_NAME}")
    records = reach.outputs.arn_for_objects(f"{contract.OUTPUTS_PREFIX}*/{contract.JOB_RECORD_NAME}")
    remove = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
    yield allow("WriteAndClearRejections", ["s3:PutObject", *remove], [rejections])
    yield allow("WriteJobRecords", ["s3:PutObject"], [records])
    # A job that SageMaker no longer lists has its record still, and is not started again.
    yield list_prefixes("ListOutputs", reach.outputs, contract.OUTPUTS_PREFIX)
    yield use_key_through("UseDataKeyThroughS3", reach.key, "s3", "kms:Decrypt", "kms:GenerateDataKey")


def _start(stack: Stack, settings: Settings, reach: Reach) -> Iterator[iam.PolicyStatement]:
    """Jobs of this deployment's prefix only, and of all roles only theirs, and that to SageMaker only."""
    jobs = training_job_arn(stack, settings.job_prefix)
    actions = ["sagemaker:CreateTrainingJob", "sagemaker:DescribeTrainingJob", "sagemaker:AddTags"]
    yield allow("StartJobs", actions, [jobs])
    to_sagemaker = {"StringEquals": {"iam:PassedToService": SAGEMAKER}}
    yield allow("PassTrainingRole", ["iam:PassRole"], [reach.training_role.role_arn], to_sagemaker)


def _report(reach: Reach) -> Iterator[iam.PolicyStatement]:
    yield allow("Notify", ["sns:Publish"], [reach.topic.topic_arn])
    publish = ("kms:Decrypt", "kms:GenerateDataKey")
    yield use_key_through("UseTopicKeyThroughSns", reach.topic_key, "sns", *publish)
    yield put_metrics("CountOutcomes", contract.OWN_METRICS_NAMESPACE)


def _queue(reach: Reach) -> Iterator[iam.PolicyStatement]:
    """Taking messages is what the event source mapping does in this role; sending is for those that wait."""
    verbs = (
        "ReceiveMessage",
        "DeleteMessage",
        "ChangeMessageVisibility",
        "GetQueueAttributes",
        "SendMessage",
    )
    yield allow("TakeAndPostpone", [f"sqs:{verb}" for verb in verbs], [reach.queue.queue_arn])
