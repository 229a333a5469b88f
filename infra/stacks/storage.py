"""Where data lies: the inputs and outputs buckets, their key and their access logs."""

from aws_cdk import CfnOutput, Duration, Stack, StackSynthesizer
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.components.bucket import DataBucket, LogBucket, removal
from infra.settings import Settings
from training.jobs import contract


class StorageStack(Stack):
    """`inputs` (datasets and manifests), `outputs` (models, reports, checkpoints) and the `key` of both."""

    def __init__(
        self, scope: Construct, name: str, *, settings: Settings, synthesizer: StackSynthesizer | None = None
    ) -> None:
        super().__init__(
            scope,
            name,
            synthesizer=synthesizer,
            description="Facetrain: datasets and models",
            termination_protection=not settings.removable,
        )
        self.key = kms.Key(
            self,
            "Key",
            alias=f"alias/{settings.job_prefix}-data",
            description="Datasets, models and checkpoints of Facetrain",
            enable_key_rotation=True,
            removal_policy=removal(settings),
        )
        logs = LogBucket(self, "AccessLogs", settings=settings)
        inputs_rules = _expiry("ExpireInputs", contract.INPUTS_PREFIX, settings.inputs_days)
        self.inputs = DataBucket(
            self, "Inputs", settings=settings, key=self.key, logs=logs, rules=inputs_rules
        )
        self.inputs.send_events()
        self.outputs = DataBucket(
            self, "Outputs", settings=settings, key=self.key, logs=logs, rules=_outputs_rules(settings)
        )
        CfnOutput(self, "InputsBucket", value=self.inputs.bucket_name)
        CfnOutput(self, "OutputsBucket", value=self.outputs.bucket_name)


def _outputs_rules(settings: Settings) -> list[s3.LifecycleRule]:
    """A checkpoint is of no use once its job is long over; a model is read now and then, for years."""
    return [
        *_expiry("ExpireCheckpoints", contract.CHECKPOINTS_PREFIX, settings.checkpoint_days),
        *_expiry("ExpireOutputs", contract.OUTPUTS_PREFIX, settings.outputs_days),
        s3.LifecycleRule(
            id="TierModels",
            prefix=contract.OUTPUTS_PREFIX,
            transitions=[
                s3.Transition(
                    storage_class=s3.StorageClass.INTELLIGENT_TIERING,
                    transition_after=Duration.days(settings.tiering_days),
                )
            ],
        ),
    ]


def _expiry(name: str, prefix: str, days: int | None) -> list[s3.LifecycleRule]:
    """By age, the only clock that S3 knows. The bucket's rule for old versions then ends what is left."""
    return [s3.LifecycleRule(id=name, prefix=prefix, expiration=Duration.days(days))] if days else []
