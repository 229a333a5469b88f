"""What is watched: metrics by name, the alarms on them, and their dashboard."""

from collections.abc import Iterator
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra import names
from training.jobs import contract

PERIOD = Duration.minutes(5)
# The launcher's own, in contract.OWN_METRICS_NAMESPACE with the dimension Stage.
REJECTED = "ManifestRejected"
WAITING = "WaitingForCapacity"
EXPIRED = "DataPastExpiry"
# The longest between two counts of it (settings.reconcile_minutes): the alarm stays up, and mails once.
EXPIRED_PERIOD = Duration.days(1)


@dataclass(frozen=True)
class Watched:
    """A metric, from which value on it is worth waking somebody, and what to do then."""

    name: str
    metric: cloudwatch.Metric
    threshold: float
    remedy: str


def _sqs(queue: str, metric: str) -> cloudwatch.Metric:
    return _metric("AWS/SQS", metric, cloudwatch.Stats.MAXIMUM, QueueName=queue)


def _metric(
    namespace: str, metric: str, statistic: str, *, period: Duration = PERIOD, **dimensions: str
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=metric,
        statistic=statistic,
        period=period,
        dimensions_map=dimensions,
    )


def _own(stage: str, metric: str, period: Duration = PERIOD) -> cloudwatch.Metric:
    namespace = contract.OWN_METRICS_NAMESPACE
    return _metric(namespace, metric, cloudwatch.Stats.SUM, period=period, Stage=stage)


def _function(stage: str, metric: str) -> cloudwatch.Metric:
    return _metric("AWS/Lambda", metric, cloudwatch.Stats.SUM, FunctionName=names.launcher(stage))


def _events(rule: str) -> cloudwatch.Metric:
    return _metric("AWS/Events", "TriggeredRules", cloudwatch.Stats.SUM, RuleName=rule)


def watched(stage: str) -> list[Watched]:
    """Every alarm of a deployment."""
    dead, queue = names.dead_letter_queue(stage), names.queue(stage)
    return [
        Watched(
            "DeadLetters",
            _sqs(dead, "ApproximateNumberOfMessagesVisible"),
            1,
            f"Events that could not be handled lie in {dead}. Mend the cause, then: "
            "aws sqs start-message-move-task --source-arn <its ARN>",
        ),
        Watched(
            "LauncherErrors",
            _function(stage, "Errors"),
            1,
            f"The launcher failed: see {names.launcher_log_group(stage)}. Its events are tried again.",
        ),
        Watched(
            "LaunchQueueAge",
            _sqs(queue, "ApproximateAgeOfOldestMessage"),
            Duration.hours(1).to_seconds(),
            f"A drop has waited an hour in {queue}: is the launcher throttled or broken?",
        ),
        Watched(
            "RejectedManifests",
            _own(stage, REJECTED),
            1,
            f"A manifest was refused: {contract.REJECTION_NAME} beside it says why.",
        ),
        Watched(
            "DataPastExpiry",
            _own(stage, EXPIRED, EXPIRED_PERIOD),
            1,
            "A dataset lies in the inputs bucket past its expires_at. Delete it in all versions, or renew "
            f"its basis: {names.launcher_log_group(stage)} names it (past its expiry).",
        ),
        Watched(
            "FailedJobs",
            _events(names.failed_jobs_rule(stage)),
            1,
            "A training job failed: facetrain show <job> says why.",
        ),
    ]


def alarms(scope: Construct, stage: str) -> Iterator[cloudwatch.Alarm]:
    for it in watched(stage):
        yield cloudwatch.Alarm(
            scope,
            it.name,
            alarm_name=f"{contract.job_prefix(stage)}-{it.name}",
            alarm_description=it.remedy,
            metric=it.metric,
            threshold=it.threshold,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )


def widgets(stage: str) -> list[list[cloudwatch.IWidget]]:
    """Rows: what went in and came out; how the launcher does; what waits."""
    queue, dead = names.queue(stage), names.dead_letter_queue(stage)
    rules = (names.manifest_rule(stage), names.ended_jobs_rule(stage), names.failed_jobs_rule(stage))
    waiting = [
        _sqs(queue, "ApproximateNumberOfMessagesVisible"),
        _sqs(queue, "ApproximateNumberOfMessagesDelayed"),
        _sqs(dead, "ApproximateNumberOfMessagesVisible"),
    ]
    return [
        [_graph("Manifests and jobs", *map(_events, rules), _own(stage, REJECTED))],
        [_graph("Launcher", *(_function(stage, name) for name in ("Invocations", "Errors", "Throttles")))],
        [_graph("Waiting", *waiting, _own(stage, WAITING))],
    ]


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=24)
