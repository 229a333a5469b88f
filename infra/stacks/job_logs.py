"""How long the account keeps the logs of training jobs, where the settings decide that."""

from aws_cdk import RemovalPolicy, Stack, StackSynthesizer
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.components.explained import explain
from infra.components.retention import keep_for
from training.jobs import contract


class JobLogsStack(Stack):
    """SageMaker makes this log group itself, for all training jobs of the account, and lets it grow for ever.

    Declaring it would fail in every account that has run a job before. The custom resource below sets its
    retention whether or not it exists, and leaves group and retention as they are when the stack goes.
    """

    def __init__(
        self, scope: Construct, name: str, *, days: int, synthesizer: StackSynthesizer | None = None
    ) -> None:
        super().__init__(scope, name, synthesizer=synthesizer, description="Facetrain: retention of job logs")
        retention = logs.LogRetention(
            self,
            "Retention",
            log_group_name=contract.LOG_GROUP,
            retention=logs.RetentionDays.ONE_YEAR,
            removal_policy=RemovalPolicy.RETAIN,
        )
        keep_for(retention, days)
        explain(
            self,
            "The CDK's own function, with the CDK's own policy: it sets the retention of log groups.",
            "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]",
            "IAM5[Resource::*]",
        )
