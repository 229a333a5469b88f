"""The pure parts: wire, channels' paths, configuration files, log batches, metrics, events, contexts."""

import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from facetrain.local.sagemaker import artifacts, authorize, folders, wire
from facetrain.local.sagemaker.__main__ import UsageError, programs, quotas, settings
from facetrain.local.sagemaker.aws import trusts_sagemaker
from facetrain.local.sagemaker.channels import Item, assign, relative
from facetrain.local.sagemaker.errors import ServiceError, ValidationError
from facetrain.local.sagemaker.processes import ProcessRunner
from facetrain.local.sagemaker.registry import state_change
from facetrain.local.sagemaker.states import new_record
from facetrain.local.sagemaker.telemetry import (
    BYTES_LIMIT,
    EVENT_OVERHEAD,
    EVENTS_LIMIT,
    Line,
    Scanner,
    batches,
)
from training.jobs.uri import S3Uri


def post(target: str) -> wire.Request:
    return wire.Request("POST", "/", "", {"x-amz-target": target}, b"{}")


def test_the_target_names_the_operation() -> None:
    assert wire.operation_name(post("SageMaker.ListTags")) == "ListTags"


@pytest.mark.parametrize("target", ["", "DynamoDB_20120810.ListTables"])
def test_another_services_target_is_an_unknown_operation(target: str) -> None:
    with pytest.raises(ServiceError) as caught:
        wire.operation_name(post(target))
    assert caught.value.code == "UnknownOperationException"


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_object_is_a_serialization_error(body: bytes) -> None:
    with pytest.raises(ServiceError) as caught:
        wire.parse(body)
    assert caught.value.code == "SerializationException"


def test_an_error_is_written_as_aws_writes_it() -> None:
    response = wire.error_answer(ValidationError("no"))
    assert (response.status, json.loads(response.body)) == (
        400,
        {"__type": "ValidationException", "message": "no"},
    )
    assert response.headers["x-amzn-requestid"]


def test_members_that_the_output_shape_lacks_are_not_sent() -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model("ListTrainingJobs").output_shape
    assert shape is not None
    summary = {"TrainingJobName": "a", "CreationTime": 1.5, "RoleArn": "secret"}
    written = wire.written(shape, {"TrainingJobSummaries": [summary], "NextToken": None})
    assert written == {"TrainingJobSummaries": [{"TrainingJobName": "a", "CreationTime": 1.5}]}


@pytest.mark.parametrize(
    ("prefix", "key", "path"),
    [
        ("in/images/", "in/images/a/1.jpg", "a/1.jpg"),
        ("in/images", "in/images/a/1.jpg", "a/1.jpg"),
        ("in/labels.csv", "in/labels.csv", "labels.csv"),
        ("in/lab", "in/labels.csv", "labels.csv"),
        ("", "a/b", "a/b"),
    ],
)
def test_an_object_keeps_its_path_below_the_prefix(prefix: str, key: str, path: str) -> None:
    assert relative(prefix, key) == path


ITEMS = [Item(S3Uri("bucket", name), name, 1) for name in "abcde"]
HOSTS = [Path("one"), Path("two")]


def test_every_host_gets_a_replicated_channel() -> None:
    assert assign(ITEMS, HOSTS, "FullyReplicated") == [(item, HOSTS) for item in ITEMS]


def test_a_sharded_channel_goes_to_each_host_in_turn() -> None:
    shared = assign(ITEMS, HOSTS, "ShardedByS3Key")
    assert ["".join(item.path for item, to in shared if to == [host]) for host in HOSTS] == ["ace", "bd"]


def job(**more: Any) -> dict[str, Any]:
    request = {
        "TrainingJobName": "a-job",
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2},
        "StoppingCondition": {},
        **more,
    }
    return new_record(request, "arn:job", 1000.25)


def test_a_program_finds_its_host_among_the_others() -> None:
    config = folders.resource_config(job(), "algo-2", ["algo-1", "algo-2"], "eth0")
    assert config["current_host"] == "algo-2"
    assert config["hosts"] == ["algo-1", "algo-2"]
    assert config["network_interface_name"] == "eth0"


def test_hosts_are_sorted_as_the_service_sorts_them() -> None:
    assert folders.host_names(11)[:3] == ["algo-1", "algo-10", "algo-11"]


def test_a_program_is_told_of_each_channel() -> None:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/x"}}
    channel = {
        "ChannelName": "images",
        "DataSource": source,
        "InputMode": "FastFile",
        "ContentType": "image/jpeg",
    }
    assert folders.input_data_config(job(InputDataConfig=[channel])) == {
        "images": {
            "ContentType": "image/jpeg",
            "TrainingInputMode": "FastFile",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
    }


@pytest.mark.parametrize("path", ["s3://bucket/out", "s3://bucket/out/"])
def test_the_model_lies_below_the_output_path_and_the_jobs_name(path: str) -> None:
    record = job(OutputDataConfig={"S3OutputPath": path})
    assert artifacts.model_address(record) == "s3://bucket/out/a-job/output/model.tar.gz"
    record["OutputDataConfig"]["CompressionType"] = "NONE"
    assert artifacts.model_address(record) == "s3://bucket/out/a-job/output/model/"


def test_the_first_hosts_file_is_taken_where_two_wrote_the_same(tmp_path: Path) -> None:
    for host, names in (("one", "ab"), ("two", "bc")):
        (tmp_path / host / "sub").mkdir(parents=True)
        for name in names:
            (tmp_path / host / "sub" / name).touch()
    found = artifacts.merged([tmp_path / "one", tmp_path / "two"])
    assert {name: path.parent.parent.name for name, path in found.items()} == {
        "sub/a": "one",
        "sub/b": "one",
        "sub/c": "two",
    }


def test_a_link_out_of_the_folder_is_not_uploaded(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "secret").touch()
    (tmp_path / "model" / "link").symlink_to(tmp_path / "secret")
    assert artifacts.merged([tmp_path / "model"]) == {}


def test_log_batches_keep_order_and_both_limits() -> None:
    long = [Line(n, "x" * 200_000) for n in range(12)]
    short = [Line(n, "y") for n in range(EVENTS_LIMIT + 1)]
    cut = batches(long + short)
    assert [line for batch in cut for line in batch] == long + short
    assert all(len(batch) <= EVENTS_LIMIT for batch in cut)
    assert all(sum(len(x.text) + EVENT_OVERHEAD for x in batch) <= BYTES_LIMIT for batch in cut)


def test_a_metric_is_the_first_group_of_its_regex_as_a_number() -> None:
    scanner = Scanner([{"Name": "loss", "Regex": r"loss=(\S+)"}, {"Name": "lr", "Regex": r"lr=([0-9.e-]+)"}])
    found = scanner.scan("loss=1.5 lr=1e-3 loss=oops", 7.0)
    assert [(item.name, item.value) for item in found] == [("loss", 1.5), ("lr", 0.001)]


def test_an_event_is_the_description_with_times_in_milliseconds_and_no_environment() -> None:
    entry = state_change(job(Environment={"TOKEN": "x"}), {"team": "a"})
    detail = json.loads(entry["Detail"])
    assert (entry["Source"], entry["DetailType"]) == ("aws.sagemaker", "SageMaker Training Job State Change")
    assert entry["Resources"] == ["arn:job"]
    assert detail["CreationTime"] == 1000250
    assert detail["SecondaryStatusTransitions"][0]["StartTime"] == 1000250
    assert detail["Tags"] == {"team": "a"}
    assert "Environment" not in detail


def test_a_policy_can_be_conditioned_on_what_a_job_asks_for() -> None:
    context = authorize.create_context(
        {
            "ResourceConfig": {"InstanceType": "ml.g5.xlarge"},
            "EnableNetworkIsolation": True,
            "Tags": [{"Key": "team", "Value": "a"}],
            "VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        }
    )
    assert context["sagemaker:InstanceTypes"] == ["ml.g5.xlarge"]
    assert context["sagemaker:NetworkIsolation"] == "true"
    assert context["sagemaker:VpcSubnets"] == ["subnet-1"]
    assert context["aws:RequestTag/team"] == "a"
    assert "sagemaker:OutputKmsKey" not in context


@pytest.mark.parametrize(
    ("principal", "trusted"),
    [
        ({"Service": "sagemaker.amazonaws.com"}, True),
        ({"Service": ["lambda.amazonaws.com", "sagemaker.amazonaws.com"]}, True),
        ({"Service": "lambda.amazonaws.com"}, False),
        ({"AWS": "000000000000"}, False),
    ],
)
def test_a_role_trusts_sagemaker_or_it_does_not(principal: dict[str, Any], trusted: bool) -> None:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    assert trusts_sagemaker({"Statement": [statement]}) is trusted
    assert not trusts_sagemaker({"Statement": {**statement, "Effect": "Deny"}})


def test_a_process_image_may_hold_a_wildcard(tmp_path: Path) -> None:
    (tmp_path / "train").touch()
    runner = ProcessRunner(programs([f"host/repository:*={tmp_path}/train"]), {})
    assert runner.refusal("host/repository:v1") is None
    assert "host/repository:*" in str(runner.refusal("host/other:v1"))


@pytest.mark.parametrize("pair", ["no-separator", "image=/does/not/exist"])
def test_a_process_image_without_a_program_is_a_usage_error(pair: str) -> None:
    with pytest.raises(UsageError, match="write URI=PROGRAM"):
        programs([pair])


def test_a_quota_is_a_type_and_a_count() -> None:
    assert quotas(["ml.g5.xlarge=2"]) == {"ml.g5.xlarge": 2}
    with pytest.raises(UsageError, match="INSTANCE_TYPE=COUNT"):
        quotas(["ml.g5.xlarge=many"])


def test_missing_variables_are_named() -> None:
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID"):
        settings({"FACETRAIN_BRIDGE_TOKEN": "x", "AWS_SECRET_ACCESS_KEY": "y"})
