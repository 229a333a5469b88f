"""What no rule pack knows: our own rules, over every template of every stage."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS

from infra.components import execution_role, launcher_role
from tests.infra.assembly import ROOT, Assembly, as_list

# Actions that know no resources (https://docs.aws.amazon.com/service-authorization/latest/reference/).
WITHOUT_RESOURCES = {
    "cloudwatch:PutMetricData",
    "ecr:GetAuthorizationToken",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
}
OURS = ("Training", "Launcher")  # the rooms whose policies we write ourselves


def our_statements(assembly: Assembly) -> Iterator[Mapping[str, Any]]:
    for room in OURS:
        yield from assembly.statements(room).values()


def test_no_action_is_a_wildcard(stage: Assembly) -> None:
    for statement in our_statements(stage):
        assert not [action for action in as_list(statement["Action"]) if "*" in action], statement


def test_only_actions_without_resources_are_allowed_on_all(stage: Assembly) -> None:
    for statement in our_statements(stage):
        if "*" in as_list(statement["Resource"]):
            assert set(as_list(statement["Action"])) <= WITHOUT_RESOURCES, statement


def test_metrics_go_to_our_namespaces_only(stage: Assembly) -> None:
    allowed = {"Training": ["/aws/sagemaker/TrainingJobs"], "Launcher": ["Facetrain"]}
    for room, namespaces in allowed.items():
        (statement,) = (
            it for it in stage.statements(room).values() if it["Action"] == "cloudwatch:PutMetricData"
        )
        condition = statement["Condition"]["StringEqualsIfExists"]["cloudwatch:namespace"]
        assert as_list(condition) == namespaces


def test_no_reason_outlives_its_wildcard(full: Assembly) -> None:
    for room, reasons in (("Training", execution_role.WILDCARDS), ("Launcher", launcher_role.WILDCARDS)):
        with_wildcards = {
            sid
            for sid, it in full.statements(room).items()
            if "*" in json.dumps([it["Action"], it["Resource"]])
        }
        assert set(reasons) == with_wildcards


def test_no_role_holds_a_policy_that_somebody_else_may_change(stage: Assembly) -> None:
    for role in stage.of_kind("AWS::IAM::Role"):
        if role.stack in OURS:
            assert "ManagedPolicyArns" not in role.properties, role


def test_every_log_group_ends(stage: Assembly) -> None:
    for group in stage.of_kind("AWS::Logs::LogGroup"):
        assert group.properties["RetentionInDays"] > 0, group


def test_every_key_rotates(stage: Assembly) -> None:
    for key in stage.of_kind("AWS::KMS::Key"):
        assert key.properties["EnableKeyRotation"] is True, key


def test_nobody_reaches_a_queue_or_the_topic_without_tls(stage: Assembly) -> None:
    policies = stage.of_kind("AWS::SQS::QueuePolicy") + stage.of_kind("AWS::SNS::TopicPolicy")
    assert len(policies) == 3
    for policy in policies:
        denied = [it for it in policy.properties["PolicyDocument"]["Statement"] if it["Effect"] == "Deny"]
        assert [it["Condition"] for it in denied] == [{"Bool": {"aws:SecureTransport": "false"}}], policy


def test_no_account_is_written_down_anywhere(stage: Assembly) -> None:
    for room, template in stage.templates.items():
        assert not re.findall(r"(?<![0-9a-f])\d{12}(?![0-9a-f])", json.dumps(template)), room


def test_no_account_is_written_down_in_the_sources() -> None:
    for path in [ROOT / "cdk.json", *sorted((ROOT / "infra").rglob("*.py"))]:
        assert not re.findall(r"(?<!\w)\d{12}(?!\w)", path.read_text()), path


def test_one_machine_gets_only_what_it_can_take(local: Assembly) -> None:
    assert {it.kind for it in local.resources} <= set(_RESOURCE_HANDLERS)


def test_one_machine_gets_the_same_stacks_as_an_account(local: Assembly, prod: Assembly) -> None:
    assert set(local.templates) == set(prod.templates)


def test_one_machine_gets_the_same_permissions_as_an_account(local: Assembly, prod: Assembly) -> None:
    for room in OURS:
        here = json.dumps(local.statements(room)).replace("facetrain-local", "facetrain-prod")
        there = json.dumps(prod.statements(room))
        assert here.replace("Facetrain-local", "Facetrain-prod") == there


def test_what_one_machine_cannot_take_lies_in_stacks_of_its_own(full: Assembly, prod: Assembly) -> None:
    assert set(full.templates) - set(prod.templates) == {"Budget", "JobLogs"}
    assert {it.kind for it in full.resources if it.stack == "Budget"} == {"AWS::Budgets::Budget"}


def test_production_keeps_what_holds_data(prod: Assembly) -> None:
    for kind in ("AWS::S3::Bucket", "AWS::KMS::Key", "AWS::ECR::Repository"):
        for resource in prod.of_kind(kind):
            assert resource.body["DeletionPolicy"] == "Retain", resource


def test_development_leaves_nothing_behind(dev: Assembly) -> None:
    for kind in ("AWS::S3::Bucket", "AWS::KMS::Key", "AWS::ECR::Repository", "AWS::Logs::LogGroup"):
        for resource in dev.of_kind(kind):
            assert resource.body["DeletionPolicy"] == "Delete", resource
    emptied = {json.dumps(it.properties["BucketName"]) for it in dev.of_kind("Custom::S3AutoDeleteObjects")}
    assert len(emptied) == len(dev.of_kind("AWS::S3::Bucket"))


def test_every_resource_that_can_be_tagged_names_its_stage(full: Assembly) -> None:
    for kind in ("AWS::S3::Bucket", "AWS::Lambda::Function", "AWS::SQS::Queue", "AWS::IAM::Role"):
        for resource in full.of_kind(kind):
            tags = {it["Key"]: it["Value"] for it in resource.properties["Tags"]}
            assert tags.items() >= {"facetrain:stage": "prod", "cost-centre": "vision"}.items(), resource
