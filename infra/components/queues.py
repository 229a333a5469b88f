"""The launch queue and its dead-letter queue."""

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import names

KEPT = Duration.days(14)  # the longest SQS keeps anything: a request waits that long for capacity
RECEIVES = 5  # of a message that cannot be handled, before it counts as dead


class LaunchQueues(Construct):
    """`queue`: manifests to launch; `dead`: messages that nobody could make sense of.

    SQS encrypts them with keys of its own: EventBridge can deliver to such a queue without a key policy.
    handling: how long one batch may take.
    """

    def __init__(self, scope: Construct, name: str, *, stage: str, handling: Duration) -> None:
        super().__init__(scope, name)
        self.dead = sqs.Queue(
            self,
            "Dead",
            queue_name=names.dead_letter_queue(stage),
            retention_period=KEPT,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            redrive_allow_policy=sqs.RedriveAllowPolicy(
                redrive_permission=sqs.RedrivePermission.BY_QUEUE, source_queues=[self._launch_queue(stage)]
            ),
        )
        self.queue = sqs.Queue(
            self,
            "Launch",
            queue_name=names.queue(stage),
            retention_period=KEPT,
            # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html asks for six times
            visibility_timeout=Duration.seconds(6 * handling.to_seconds()),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead, max_receive_count=RECEIVES),
        )

    def _launch_queue(self, stage: str) -> sqs.IQueue:
        """By its name, for the two queues name each other."""
        arn = Stack.of(self).format_arn(
            service="sqs", resource=names.queue(stage), arn_format=ArnFormat.NO_RESOURCE_NAME
        )
        return sqs.Queue.from_queue_arn(self, "LaunchByName", arn)
