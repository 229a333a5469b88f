"""From a manifest to a job: rule, queue, function, and what the function may do."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.infra.assembly import Assembly, Resource, as_list
from training.jobs.algorithms import ALGORITHMS
from training.jobs.platform import Platform


def function(assembly: Assembly) -> Resource:
    return next(it for it in assembly.of_kind("AWS::Lambda::Function") if it.stack == "Launcher")


def queue(assembly: Assembly, name: str) -> Resource:
    wanted = f"facetrain-{assembly.stage}-{name}"
    return next(it for it in assembly.of_kind("AWS::SQS::Queue") if it.properties["QueueName"] == wanted)


def text(value: Any) -> str:
    """A joined expression, its references in pointed brackets."""
    parts = value["Fn::Join"][1] if isinstance(value, dict) else [value]
    return "".join(it if isinstance(it, str) else f"<{json.dumps(it).replace(chr(34), '')}>" for it in parts)


def platform(assembly: Assembly) -> Platform:
    return Platform.from_json(
        text(function(assembly).properties["Environment"]["Variables"]["FACETRAIN_PLATFORM"])
    )


@pytest.fixture
def statements(stage: Assembly) -> dict[str, Mapping[str, Any]]:
    return stage.statements("Launcher")


def test_a_manifest_anywhere_below_inputs_starts_and_nothing_else_does(stage: Assembly) -> None:
    rule = stage.named("AWS::Events::Rule", "ManifestDropped").properties
    assert rule["EventPattern"]["source"] == ["aws.s3"]
    assert rule["EventPattern"]["detail-type"] == ["Object Created"]
    assert rule["EventPattern"]["detail"]["object"] == {"key": [{"wildcard": "inputs/*/manifest.json"}]}
    assert len(rule["EventPattern"]["detail"]["bucket"]["name"]) == 1


def test_the_rule_delivers_to_the_queue_or_else_to_the_dead_letters(stage: Assembly) -> None:
    (target,) = stage.named("AWS::Events::Rule", "ManifestDropped").properties["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": [queue(stage, "launch").name, "Arn"]}
    dead = queue(stage, "launch-dead").name
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": [dead, "Arn"]}}


@pytest.mark.parametrize("name", ["launch", "launch-dead"])
def test_messages_are_encrypted_and_kept_for_two_weeks(stage: Assembly, name: str) -> None:
    properties = queue(stage, name).properties
    assert properties["SqsManagedSseEnabled"] is True
    assert properties["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_what_cannot_be_handled_goes_to_the_dead_letters_and_can_come_back(stage: Assembly) -> None:
    redrive = queue(stage, "launch").properties["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": [queue(stage, "launch-dead").name, "Arn"]}
    allowed = queue(stage, "launch-dead").properties["RedriveAllowPolicy"]
    assert text(allowed["sourceQueueArns"][0]).endswith(f":facetrain-{stage.stage}-launch")


def test_a_message_stays_hidden_six_times_as_long_as_the_function_runs(stage: Assembly) -> None:
    timeout = function(stage).properties["Timeout"]
    assert queue(stage, "launch").properties["VisibilityTimeout"] == 6 * timeout


def test_one_bad_message_does_not_bring_back_its_batch(stage: Assembly) -> None:
    (source,) = stage.of_kind("AWS::Lambda::EventSourceMapping")
    assert source.properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source.properties["ScalingConfig"]["MaximumConcurrency"] >= 2  # the least that AWS takes


def test_a_new_account_can_deploy_the_function(stage: Assembly) -> None:
    """Its limit of ten functions at once leaves none to reserve."""
    assert "ReservedConcurrentExecutions" not in function(stage).properties


def test_the_function_is_told_all_in_few_variables(stage: Assembly) -> None:
    variables = function(stage).properties["Environment"]["Variables"]
    assert set(variables) == {"FACETRAIN_PLATFORM", "FACETRAIN_QUEUE_URL"}
    assert len(json.dumps(variables)) < 4096  # Lambda's limit, with references still longer than their values


def test_the_function_and_the_users_tools_read_the_same_description(stage: Assembly) -> None:
    parameters = {it.properties["Name"]: it for it in stage.of_kind("AWS::SSM::Parameter")}
    stored = parameters[f"/facetrain/{stage.stage}/platform"].properties["Value"]
    assert stored == function(stage).properties["Environment"]["Variables"]["FACETRAIN_PLATFORM"]


def test_the_description_says_what_the_settings_said(full: Assembly) -> None:
    described = platform(full)
    assert described.stage == "prod"
    assert described.job_prefix == "facetrain-prod"
    assert described.subnets == ("subnet-0a", "subnet-0b")
    assert described.security_groups == ("sg-0a",)
    assert described.allowed_buckets == ("shared-faces",)
    assert described.governance_required == ("legal_basis", "expires_at")
    assert described.network_isolation
    assert described.tags == {"cost-centre": "vision"}
    assert set(described.images) == set(ALGORITHMS)


def test_the_function_writes_to_a_log_group_that_ends(stage: Assembly) -> None:
    group = next(it for it in stage.of_kind("AWS::Logs::LogGroup") if it.stack == "Launcher")
    assert function(stage).properties["LoggingConfig"]["LogGroup"] == {"Ref": group.name}
    assert group.properties["LogGroupName"] == f"/aws/lambda/facetrain-{stage.stage}-launch-training"


def test_what_an_event_was_lost_for_is_found_by_the_clock(stage: Assembly) -> None:
    rule = stage.named("AWS::Events::Rule", "Reconcile").properties
    assert rule["ScheduleExpression"] == "rate(1 hour)"
    (target,) = rule["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": [function(stage).name, "Arn"]}
    assert json.loads(target["Input"]) == {"reconcile": True}


def test_only_the_rule_may_send_to_the_queue(stage: Assembly) -> None:
    policy = stage.named("AWS::SQS::QueuePolicy", "QueuesLaunch").properties["PolicyDocument"]
    (allowed,) = (it for it in policy["Statement"] if it["Effect"] == "Allow")
    rule = stage.named("AWS::Events::Rule", "ManifestDropped").name
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    assert allowed["Condition"]["ArnEquals"] == {"aws:SourceArn": {"Fn::GetAtt": [rule, "Arn"]}}


def test_jobs_are_started_by_their_prefix_only(stage: Assembly) -> None:
    statement = stage.statements("Launcher")["StartJobs"]
    assert set(statement["Action"]) == {
        "sagemaker:CreateTrainingJob",
        "sagemaker:DescribeTrainingJob",
        "sagemaker:AddTags",
    }
    assert text(statement["Resource"]).endswith(f":training-job/facetrain-{stage.stage}-*")


def test_the_training_role_alone_is_passed_and_to_sagemaker_only(stage: Assembly) -> None:
    statements = stage.statements("Launcher").values()
    (statement,) = (it for it in statements if "iam:PassRole" in as_list(it["Action"]))
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert statement["Resource"]["Fn::GetStackOutput"]["StackName"] == f"Facetrain-{stage.stage}-Training"


def test_the_launcher_writes_three_kinds_of_files_and_reads_inputs(
    statements: dict[str, Mapping[str, Any]],
) -> None:
    objects = {
        text(it["Resource"]).rpartition(">")[2]: set(as_list(it["Action"]))
        for it in statements.values()
        if any(action.startswith("s3:") and "Object" in action for action in as_list(it["Action"]))
    }
    assert {name: acts for name, acts in objects.items() if name.startswith("/")} == {
        "/inputs/*": {"s3:GetObject", "s3:GetObjectVersion"},
        "/inputs/*/manifest.rejected.json": {"s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"},
        "/outputs/*/job.json": {"s3:PutObject"},
    }


def test_keys_serve_by_way_of_their_service_only(statements: dict[str, Mapping[str, Any]]) -> None:
    vias = {
        text(it["Condition"]["StringEquals"]["kms:ViaService"]).partition(".")[0]
        for it in statements.values()
        if any(action.startswith("kms:") for action in as_list(it["Action"]))
    }
    assert vias == {"s3", "sns"}


def test_the_outputs_name_what_people_ask_for(stage: Assembly) -> None:
    outputs = {name for template in stage.templates.values() for name in template.get("Outputs", {})}
    assert outputs >= {
        "InputsBucket",
        "OutputsBucket",
        "FunctionName",
        "QueueUrl",
        "DeadLetterQueueUrl",
        "TopicArn",
        "RoleArn",
        "ImageUri",
        "PlatformParameter",
    }
