"""The execution role: what a job needs, for jobs of this deployment, and no more."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.infra.assembly import Assembly, as_list


def trust(assembly: Assembly) -> list[Mapping[str, Any]]:
    role = next(it for it in assembly.of_kind("AWS::IAM::Role") if it.stack == "Training")
    assert role.properties["RoleName"] == f"facetrain-{assembly.stage}-training"
    statements: list[Mapping[str, Any]] = role.properties["AssumeRolePolicyDocument"]["Statement"]
    return statements


def resources(statement: Mapping[str, Any]) -> list[str]:
    """The end of each resource, which is what tells prefixes."""
    return [json.dumps(it).rstrip('"]}') for it in as_list(statement["Resource"])]


@pytest.fixture
def statements(stage: Assembly) -> dict[str, Mapping[str, Any]]:
    return stage.statements("Training")


def test_only_sagemaker_may_take_the_role_and_only_for_our_jobs(prod: Assembly) -> None:
    (statement,) = trust(prod)
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    source = json.dumps(statement["Condition"]["ArnLike"]["aws:SourceArn"])
    assert ":training-job/facetrain-prod-*" in source


def test_on_one_machine_the_account_may_take_it_as_well(local: Assembly) -> None:
    assert ["Service" in it["Principal"] for it in trust(local)] == [True, False]
    assert ":root" in json.dumps(trust(local)[1]["Principal"]["AWS"])


def test_inputs_are_read_and_never_written(statements: dict[str, Mapping[str, Any]]) -> None:
    reading = {sid for sid, it in statements.items() if any("/inputs/*" in text for text in resources(it))}
    assert reading == {"ReadInputs"}
    assert statements["ReadInputs"]["Action"] == "s3:GetObject"
    below = [text[text.rindex(", ") :] for text in resources(statements["ReadInputs"])]
    assert below == [', "/governance/forgotten/*', ', "/inputs/*']


def test_listing_sees_the_prefixes_of_the_contract_only(statements: dict[str, Mapping[str, Any]]) -> None:
    seen = [
        as_list(statements[sid]["Condition"]["StringLike"]["s3:prefix"])
        for sid in ("ListInputs", "ListOutputs")
    ]
    assert seen == [["inputs/*", "governance/forgotten/*"], ["outputs/*", "checkpoints/*"]]


def test_models_are_written_and_not_read_back_or_deleted(statements: dict[str, Mapping[str, Any]]) -> None:
    touching = {
        action
        for it in statements.values()
        for action in as_list(it["Action"])
        if any(text.endswith("/outputs/*") for text in resources(it))
    }
    assert touching == {"s3:PutObject", "s3:AbortMultipartUpload"}


def test_the_key_serves_by_way_of_s3_only(stage: Assembly) -> None:
    statement = stage.statements("Training")["UseDataKeyThroughS3"]
    via = statement["Condition"]["StringEquals"]["kms:ViaService"]
    assert via == {"Fn::Join": ["", ["s3.", {"Ref": "AWS::Region"}, ".amazonaws.com"]]}


def test_logs_are_written_to_streams_of_our_jobs(stage: Assembly) -> None:
    group, streams = resources(stage.statements("Training")["WriteLogs"])
    assert group.endswith(":log-group:/aws/sagemaker/TrainingJobs")
    assert streams.endswith(f":log-group:/aws/sagemaker/TrainingJobs:log-stream:facetrain-{stage.stage}-*")


def test_images_are_pulled_from_our_repository(stage: Assembly) -> None:
    assert resources(stage.statements("Training")["PullImage"])[0].endswith(
        f":repository/facetrain-{stage.stage}/arcface"
    )


def test_the_network_is_touched_only_where_one_is_configured(prod: Assembly, full: Assembly) -> None:
    assert "ec2:" not in json.dumps(prod.statements("Training"))
    interfaces = full.statements("Training")["ManageInterfaces"]
    subnets = json.dumps(interfaces["Condition"]["ArnEqualsIfExists"]["ec2:Subnet"])
    assert "subnet/subnet-0a" in subnets
    assert "subnet/subnet-0b" in subnets


def test_other_buckets_are_read_only_where_they_are_allowed(prod: Assembly, full: Assembly) -> None:
    assert "shared-faces" not in json.dumps(prod.statements("Training"))
    assert resources(full.statements("Training")["ReadAllowedBuckets"])[0].endswith(":s3:::shared-faces/*")


def test_the_retention_of_job_logs_is_set_and_the_group_never_declared(full: Assembly) -> None:
    retention = full.named("Custom::LogRetention", "Retention").properties
    assert retention["LogGroupName"] == "/aws/sagemaker/TrainingJobs"
    assert retention["RetentionInDays"] == 365
    declared = [it.properties.get("LogGroupName") for it in full.of_kind("AWS::Logs::LogGroup")]
    assert "/aws/sagemaker/TrainingJobs" not in declared
