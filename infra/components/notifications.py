"""The topic that people subscribe to."""

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra import names
from infra.components.bucket import removal
from infra.settings import Settings

EVENTBRIDGE = "events.amazonaws.com"
CLOUDWATCH = "cloudwatch.amazonaws.com"


class Notifications(Construct):
    """`topic`, encrypted with `key`; EventBridge and CloudWatch may publish.

    The key is its own because AWS's default key for SNS lets neither service publish.
    """

    def __init__(self, scope: Construct, name: str, *, settings: Settings) -> None:
        super().__init__(scope, name)
        self.key = kms.Key(
            self,
            "Key",
            alias=f"alias/{settings.job_prefix}-notifications",
            description="Messages of Facetrain",
            enable_key_rotation=True,
            removal_policy=removal(settings),
        )
        self.topic = sns.Topic(
            self,
            "Topic",
            topic_name=names.topic(settings.stage),
            display_name=f"Facetrain {settings.stage}",
            master_key=self.key,
            enforce_ssl=True,
        )
        self._let_services_publish()

    def _let_services_publish(self) -> None:
        """EventBridge gets no aws:SourceAccount condition: it does not send that to encrypted topics.

        https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
        """
        for service, conditions in (
            (EVENTBRIDGE, {}),
            (CLOUDWATCH, {"StringEquals": {"aws:SourceAccount": Stack.of(self).account}}),
        ):
            principal = iam.ServicePrincipal(service, conditions=conditions)
            self.topic.grant_publish(principal)
            self.key.grant(principal, "kms:Decrypt", "kms:GenerateDataKey*")
