"""What people hear and see: the topic, what finished jobs say on it, alarms and a dashboard."""

from aws_cdk import CfnOutput, Stack, StackSynthesizer
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra import names
from infra.components import metrics
from infra.components.job_messages import JobMessages
from infra.components.notifications import Notifications
from infra.settings import Settings


class ObservabilityStack(Stack):
    """`notifications`: the topic and its key.

    Alarms and dashboard name what they watch instead of referring to it, so this stack comes before the
    launcher's, which needs the topic.
    """

    def __init__(
        self, scope: Construct, name: str, *, settings: Settings, synthesizer: StackSynthesizer | None = None
    ) -> None:
        super().__init__(scope, name, synthesizer=synthesizer, description="Facetrain: messages and alarms")
        self.notifications = Notifications(self, "Notifications", settings=settings)
        topic = self.notifications.topic
        if settings.email:
            topic.add_subscription(subscriptions.EmailSubscription(settings.email))
        JobMessages(self, "JobMessages", settings=settings, topic=topic)
        for alarm in metrics.alarms(self, settings.stage):
            alarm.add_alarm_action(actions.SnsAction(topic))
        cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=names.dashboard(settings.stage),
            widgets=metrics.widgets(settings.stage),
        )
        CfnOutput(self, "TopicArn", value=topic.topic_arn)
