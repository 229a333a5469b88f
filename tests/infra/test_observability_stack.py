"""What people hear and see."""

import ast
import json
from typing import Any

import pytest

from tests.infra.assembly import ROOT, Assembly, as_list


def publishers(assembly: Assembly) -> dict[str, Any]:
    policy = assembly.named("AWS::SNS::TopicPolicy", "NotificationsTopicPolicy").properties["PolicyDocument"]
    allowed = [it for it in policy["Statement"] if it["Effect"] == "Allow"]
    return {it["Principal"]["Service"]: it.get("Condition") for it in allowed}


def test_eventbridge_and_cloudwatch_may_publish_and_nobody_else(stage: Assembly) -> None:
    of_this_account = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert publishers(stage) == {"events.amazonaws.com": None, "cloudwatch.amazonaws.com": of_this_account}


def test_both_may_use_the_topics_key(stage: Assembly) -> None:
    """Without that they publish into nothing, and nobody hears of it."""
    key = stage.named("AWS::KMS::Key", "NotificationsKey")
    assert stage.named("AWS::SNS::Topic", "Notifications").properties["KmsMasterKeyId"] == {
        "Fn::GetAtt": [key.name, "Arn"]
    }
    users = {
        it["Principal"]["Service"]: set(it["Action"])
        for it in key.properties["KeyPolicy"]["Statement"]
        if "Service" in it["Principal"]
    }
    needed = {"kms:Decrypt", "kms:GenerateDataKey*"}
    assert users == {"events.amazonaws.com": needed, "cloudwatch.amazonaws.com": needed}


@pytest.mark.parametrize(
    ("rule", "statuses", "said"),
    [
        ("JobMessagesEnded", ["Completed", "Stopped"], "Its results: "),
        ("JobMessagesFailed", ["Failed"], " failed: "),
    ],
)
def test_a_job_that_ends_is_told_in_a_sentence(
    stage: Assembly, rule: str, statuses: list[str], said: str
) -> None:
    properties = stage.named("AWS::Events::Rule", rule).properties
    pattern = properties["EventPattern"]
    assert pattern["source"] == ["aws.sagemaker"]
    assert pattern["detail-type"] == ["SageMaker Training Job State Change"]
    assert pattern["detail"]["TrainingJobName"] == [{"prefix": f"facetrain-{stage.stage}-"}]
    assert pattern["detail"]["TrainingJobStatus"] == statuses
    (target,) = properties["Targets"]
    assert said in target["InputTransformer"]["InputTemplate"]


def test_every_alarm_says_what_to_do_and_tells_the_topic(stage: Assembly) -> None:
    topic = stage.named("AWS::SNS::Topic", "Notifications").name
    alarms = {it.properties["AlarmName"]: it.properties for it in stage.of_kind("AWS::CloudWatch::Alarm")}
    assert set(alarms) == {
        f"facetrain-{stage.stage}-{name}"
        for name in (
            *("DeadLetters", "LauncherErrors", "LaunchQueueAge"),
            *("RejectedManifests", "DataPastExpiry", "FailedJobs"),
        )
    }
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == [{"Ref": topic}]
        assert len(alarm["AlarmDescription"]) > 30
        assert alarm["TreatMissingData"] == "notBreaching"


def test_alarms_watch_what_exists(stage: Assembly) -> None:
    """They name what they watch, so a name that is changed in one place must not be forgotten here."""
    existing = {
        name
        for it in stage.resources
        for key in ("QueueName", "FunctionName", "Name")
        if isinstance(name := it.properties.get(key), str)
    }
    for alarm in stage.of_kind("AWS::CloudWatch::Alarm"):
        watched = {it["Name"]: it["Value"] for it in alarm.properties["Dimensions"]}
        assert watched.get("Stage") == stage.stage or set(watched.values()) <= existing, alarm


def counted_by_the_launcher() -> set[str]:
    """The names in `notices.count("…")`, read from the sources of the other end."""
    return {
        str(node.args[0].value)
        for path in (ROOT / "lambda").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "count"
        and isinstance(node.args[0], ast.Constant)
    }


@pytest.mark.parametrize("alarm", ["RejectedManifests", "DataPastExpiry"])
def test_the_alarm_counts_the_metric_that_the_launcher_sends(stage: Assembly, alarm: str) -> None:
    metric = stage.named("AWS::CloudWatch::Alarm", alarm).properties["MetricName"]
    assert metric in counted_by_the_launcher()


def test_data_past_its_expiry_is_told_once_and_not_at_every_look_round(stage: Assembly) -> None:
    """An alarm that is up already sends nothing: its period is as long as a look round may be away."""
    assert stage.named("AWS::CloudWatch::Alarm", "DataPastExpiry").properties["Period"] == 24 * 3600


def test_the_dashboard_shows_jobs_launcher_and_what_waits(stage: Assembly) -> None:
    (dashboard,) = stage.of_kind("AWS::CloudWatch::Dashboard")
    body = dashboard.properties["DashboardBody"]
    shown = "".join(it for it in body["Fn::Join"][1] if isinstance(it, str))
    titles = [shown.find(f'"title":"{title}"') for title in ("Manifests and jobs", "Launcher", "Waiting")]
    assert titles == sorted(titles)
    assert -1 not in titles


def test_mail_is_sent_only_where_an_address_is_given(prod: Assembly, full: Assembly) -> None:
    assert not [it for it in prod.resources if it.kind == "AWS::SNS::Subscription"]
    (subscription,) = full.of_kind("AWS::SNS::Subscription")
    assert subscription.properties["Endpoint"] == "team@example.com"


def test_the_budget_warns_before_it_is_spent(full: Assembly) -> None:
    (budget,) = full.of_kind("AWS::Budgets::Budget")
    assert budget.properties["Budget"]["BudgetLimit"] == {"Amount": 500, "Unit": "USD"}
    warnings = [it["Notification"] for it in as_list(budget.properties["NotificationsWithSubscribers"])]
    assert min(it["Threshold"] for it in warnings) < 100
    assert "team@example.com" in json.dumps(budget.properties)
