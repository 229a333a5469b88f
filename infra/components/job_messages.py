"""One readable message for each training job that ends."""

from collections.abc import Sequence

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra import names
from infra.settings import Settings

DETAIL_TYPE = "SageMaker Training Job State Change"


def _field(name: str) -> str:
    return events.EventField.from_path(f"$.detail.{name}")


class JobMessages(Construct):
    """Two rules, so that failures can be counted (an alarm watches the second) and say why."""

    def __init__(self, scope: Construct, name: str, *, settings: Settings, topic: sns.ITopic) -> None:
        super().__init__(scope, name)
        job, status = _field("TrainingJobName"), _field("TrainingJobStatus")
        folder = _field("OutputDataConfig.S3OutputPath")
        self._rule(
            "Ended",
            settings,
            statuses=("Completed", "Stopped"),
            rule_name=names.ended_jobs_rule(settings.stage),
            target=_tell(topic, f"Training job {job}: {status}. Its results: {folder}{job}/"),
        )
        self._rule(
            "Failed",
            settings,
            statuses=("Failed",),
            rule_name=names.failed_jobs_rule(settings.stage),
            target=_tell(topic, f"Training job {job} failed: {_field('FailureReason')}"),
        )

    def _rule(
        self,
        name: str,
        settings: Settings,
        *,
        statuses: Sequence[str],
        rule_name: str,
        target: events.IRuleTarget,
    ) -> events.Rule:
        return events.Rule(
            self,
            name,
            rule_name=rule_name,
            description=f"Training jobs of {settings.job_prefix} that are {' or '.join(statuses).lower()}",
            event_pattern=events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=[DETAIL_TYPE],
                detail={
                    "TrainingJobName": events.Match.prefix(f"{settings.job_prefix}-"),
                    "TrainingJobStatus": list(statuses),
                },
            ),
            targets=[target],
        )


def _tell(topic: sns.ITopic, text: str) -> targets.SnsTopic:
    return targets.SnsTopic(topic, message=events.RuleTargetInput.from_text(text))
