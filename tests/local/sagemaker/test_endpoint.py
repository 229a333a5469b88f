"""The endpoint as boto3, the AWS CLI and the SageMaker SDK see it, before MiniStack with IAM enforced."""

import datetime as dt
import importlib.util
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from facetrain.local import services
from tests.local.sagemaker.conftest import (
    ACCOUNT,
    BUCKET,
    EXECUTION,
    REGION,
    TRUST,
    Place,
    allow,
    states,
)


def refused(call: Any, **arguments: Any) -> tuple[str, str]:
    """The code and message of the error that a call gets."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def arn(name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{name}"


def channel(uri: str) -> dict[str, Any]:
    return {"ChannelName": "images", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}


def test_a_job_is_described_as_it_was_asked_for(place: Place) -> None:
    request = place.request(Environment={"A": "b"}, Tags=[{"Key": "team", "Value": "x"}])
    made = place.client("sagemaker").create_training_job(**request)
    assert made["TrainingJobArn"] == arn(request["TrainingJobName"])
    record = place.wait(request["TrainingJobName"])
    described = {name: value for name, value in request.items() if name != "Tags"}
    assert {name: record[name] for name in described} == described
    assert states(record) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]


def test_a_second_job_of_the_same_name_is_in_use(place: Place) -> None:
    name = place.submit()
    code, message = refused(
        place.client("sagemaker").create_training_job, **place.request(TrainingJobName=name)
    )
    assert code == "ResourceInUse"
    assert arn(name) in message


def test_a_job_that_does_not_exist_is_a_validation_exception_as_in_aws(place: Place) -> None:
    client = place.client("sagemaker")
    for call in (client.describe_training_job, client.stop_training_job):
        assert refused(call, TrainingJobName="nobody") == (
            "ValidationException",
            "Requested resource not found.",
        )
    assert refused(client.list_tags, ResourceArn=arn("nobody"))[0] == "ValidationException"


def test_a_finished_job_cannot_be_stopped(place: Place) -> None:
    record = place.run()
    assert refused(
        place.client("sagemaker").stop_training_job, TrainingJobName=record["TrainingJobName"]
    ) == (
        "ValidationException",
        "The request was rejected because the training job is in status Completed.",
    )


def test_tags_are_added_replaced_and_deleted(place: Place) -> None:
    client, name = place.client("sagemaker"), place.submit(Tags=[{"Key": "a", "Value": "1"}])
    client.add_tags(ResourceArn=arn(name), Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}])
    client.delete_tags(ResourceArn=arn(name), TagKeys=["b", "never-there"])
    assert client.list_tags(ResourceArn=arn(name))["Tags"] == [{"Key": "a", "Value": "2"}]


def test_jobs_are_listed_page_by_page(place: Place) -> None:
    before = dt.datetime.now(dt.UTC)
    for number in range(5):
        place.submit(TrainingJobName=f"listed-{number}")
    list_jobs = place.client("sagemaker").get_paginator("list_training_jobs").paginate
    pages = list_jobs(
        CreationTimeAfter=before,
        NameContains="LISTED-",
        SortBy="Name",
        SortOrder="Ascending",
        PaginationConfig={"PageSize": 2},
    )
    found = [[job["TrainingJobName"] for job in page["TrainingJobSummaries"]] for page in pages]
    assert found == [["listed-0", "listed-1"], ["listed-2", "listed-3"], ["listed-4"]]
    assert list_jobs(CreationTimeBefore=before, NameContains="listed-").build_full_result() == {
        "TrainingJobSummaries": []
    }


def test_an_operation_that_is_not_here_says_which_are(place: Place) -> None:
    code, message = refused(place.client("sagemaker").list_models)
    assert code == "UnknownOperationException"
    assert "It has: CreateTrainingJob" in message


def test_what_is_wrong_with_a_request_is_told_in_awss_words(place: Place) -> None:
    bad = place.request(HyperParameters={"k" * 257: "v"})
    code, message = refused(place.client("sagemaker").create_training_job, **bad)
    assert code == "ValidationException"
    assert "at 'hyperParameters' failed to satisfy constraint: Map keys must satisfy constraint" in message


# -- Who may ------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def launcher(place: Place) -> str:
    """A role that may create jobs named job-*, and pass the execution role to SageMaker alone."""
    condition = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    return place.role(
        allow("sagemaker:CreateTrainingJob", "sagemaker:AddTags", resource=arn("job-*")),
        allow("iam:PassRole", resource=place.execution_role, Condition=condition),
    )


def test_a_caller_with_the_permissions_creates_a_job(place: Place, launcher: str) -> None:
    request = place.request(Tags=[{"Key": "a", "Value": "b"}])
    place.client("sagemaker", place.session(launcher)).create_training_job(**request)
    assert place.wait(request["TrainingJobName"])["TrainingJobStatus"] == "Completed"


def test_a_name_that_the_policy_does_not_cover_is_denied_as_aws_words_it(place: Place, launcher: str) -> None:
    request = place.request(TrainingJobName="other")
    call = place.client("sagemaker", place.session(launcher)).create_training_job
    caller = launcher.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/caller"
    assert refused(call, **request) == (
        "AccessDeniedException",
        f"User: {caller} is not authorized to perform: sagemaker:CreateTrainingJob on resource: "
        f"{arn('other')} because no identity-based policy allows the sagemaker:CreateTrainingJob action",
    )


def test_a_role_that_may_not_be_passed_is_denied(place: Place, launcher: str) -> None:
    other = place.role(allow(*EXECUTION))
    call = place.client("sagemaker", place.session(launcher)).create_training_job
    code, message = refused(call, **place.request(RoleArn=other))
    assert code == "AccessDeniedException"
    assert f"iam:PassRole on resource: {other}" in message


def test_passing_a_role_to_another_service_is_not_passing_it_to_sagemaker(place: Place) -> None:
    condition = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    caller = place.role(allow("sagemaker:CreateTrainingJob"), allow("iam:PassRole", Condition=condition))
    call = place.client("sagemaker", place.session(caller)).create_training_job
    code, message = refused(call, **place.request())
    assert code == "AccessDeniedException"
    assert "iam:PassRole" in message


def test_tags_need_a_permission_of_their_own(place: Place) -> None:
    caller = place.role(allow("sagemaker:CreateTrainingJob", "iam:PassRole"))
    request = place.request(Tags=[{"Key": "a", "Value": "b"}])
    code, message = refused(place.client("sagemaker", place.session(caller)).create_training_job, **request)
    assert code == "AccessDeniedException"
    assert "sagemaker:AddTags" in message


def test_an_explicit_deny_is_told_as_one(place: Place) -> None:
    caller = place.role(
        allow("sagemaker:*", "iam:PassRole"),
        {
            **allow("sagemaker:CreateTrainingJob"),
            "Effect": "Deny",
            "Condition": {"ForAnyValue:StringNotLike": {"sagemaker:InstanceTypes": ["ml.g5.*"]}},
        },
    )
    call = place.client("sagemaker", place.session(caller)).create_training_job
    code, message = refused(call, **place.request())
    assert code == "AccessDeniedException"
    assert message.endswith("with an explicit deny in an identity-based policy")


def test_a_denied_caller_does_not_learn_what_is_wrong_with_the_request(place: Place) -> None:
    nobody = place.client("sagemaker", place.session(place.role(allow("s3:ListBucket"))))
    assert refused(nobody.create_training_job, **place.request(HyperParameters={"k" * 300: "v"}))[0] == (
        "AccessDeniedException"
    )
    assert refused(nobody.list_training_jobs)[1].endswith("the sagemaker:ListTrainingJobs action")


def test_a_job_of_another_teams_tag_is_out_of_reach(place: Place) -> None:
    condition = {"StringEquals": {"aws:ResourceTag/team": "a"}}
    caller = place.role(allow("sagemaker:DescribeTrainingJob", Condition=condition))
    client = place.client("sagemaker", place.session(caller))
    names = [place.submit(Tags=[{"Key": "team", "Value": team}]) for team in "ab"]
    assert client.describe_training_job(TrainingJobName=names[0])["TrainingJobName"] == names[0]
    assert refused(client.describe_training_job, TrainingJobName=names[1])[0] == "AccessDeniedException"


def test_a_wrong_secret_is_an_invalid_signature(place: Place) -> None:
    keys = {"aws_access_key_id": place.servers.credentials.access_key_id, "aws_secret_access_key": "wrong"}
    code, _message = refused(place.client("sagemaker", keys).list_training_jobs)
    assert code in {"InvalidSignatureException", "SignatureDoesNotMatch"}


def test_an_unsigned_request_is_refused(place: Place) -> None:
    context = ssl.create_default_context(cafile=str(place.servers.tls.authority))
    request = urllib.request.Request(
        place.servers.sagemaker_endpoint, data=b"{}", headers={"X-Amz-Target": "SageMaker.ListTrainingJobs"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, context=context)
    assert caught.value.code == 403
    assert json.load(caught.value)["__type"] == "MissingAuthenticationTokenException"


# -- What CreateTrainingJob looks at before it says yes -----------------------------------------------------
def test_a_role_that_does_not_trust_sagemaker_cannot_be_assumed(place: Place) -> None:
    trust = {**TRUST, "Statement": TRUST["Statement"][1:]}
    role = place.role(allow(*EXECUTION), trust=trust)
    code, message = refused(place.client("sagemaker").create_training_job, **place.request(RoleArn=role))
    assert (code, message) == (
        "ValidationException",
        f"Could not assume role {role}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role.",
    )


def test_a_role_that_does_not_exist_cannot_be_assumed(place: Place) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/nobody-at-all"
    code, message = refused(place.client("sagemaker").create_training_job, **place.request(RoleArn=role))
    assert (code, message[:19]) == ("ValidationException", "Could not assume ro")


def test_an_image_that_stands_for_no_program_cannot_be_found(place: Place) -> None:
    image = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/other:1"
    algorithm = {"TrainingImage": image, "TrainingInputMode": "File"}
    call = place.client("sagemaker").create_training_job
    code, message = refused(call, **place.request(AlgorithmSpecification=algorithm))
    assert code == "ValidationException"
    assert message.startswith(f"Cannot find the requested image: {image}")


def test_a_role_that_may_not_pull_the_image_is_refused(place: Place) -> None:
    role = place.role(allow(*(action for action in EXECUTION if action != "ecr:*"), "ecr:BatchGetImage"))
    code, message = refused(place.client("sagemaker").create_training_job, **place.request(RoleArn=role))
    assert code == "ValidationException"
    assert message.startswith("Access denied for repository: tests in registry ID: 000000000000.")


@pytest.mark.parametrize("uri", [f"s3://{BUCKET}/nothing-here/", "s3://no-such-bucket/x/"])
def test_a_channel_without_objects_is_refused(place: Place, uri: str) -> None:
    code, message = refused(
        place.client("sagemaker").create_training_job, **place.request(InputDataConfig=[channel(uri)])
    )
    assert code == "ValidationException"
    assert message.startswith(f'No S3 objects found under S3 URL "{uri}" given in input data source.')


def test_a_role_that_may_not_list_the_input_is_refused(place: Place) -> None:
    role = place.role(allow(*(action for action in EXECUTION if action != "s3:ListBucket")))
    request = place.request(RoleArn=role, InputDataConfig=[channel(place.put("denied/a.txt"))])
    code, message = refused(place.client("sagemaker").create_training_job, **request)
    assert code == "ValidationException"
    assert "is not authorized to perform: s3:ListBucket" in message


def test_an_output_bucket_must_exist(place: Place) -> None:
    output = {"S3OutputPath": "s3://no-such-bucket/out"}
    call = place.client("sagemaker").create_training_job
    code, message = refused(call, **place.request(OutputDataConfig=output))
    assert (code, message) == (
        "ValidationException",
        "The specified output bucket does not exist: no-such-bucket",
    )


def test_a_quota_of_zero_is_a_resource_limit(place: Place) -> None:
    resources = {"InstanceType": "ml.p4d.24xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
    call = place.client("sagemaker").create_training_job
    code, message = refused(call, **place.request(ResourceConfig=resources))
    assert code == "ResourceLimitExceeded"
    assert "'ml.p4d.24xlarge for training job usage' is 0 Instances" in message


# -- Other clients ------------------------------------------------------------------------------------------
def client_environment(place: Place) -> dict[str, str]:
    """What `eval "$(facetrain local env)"` sets, for the root."""
    keys = {
        **services.sagemaker_environment(place.servers),
        "AWS_ENDPOINT_URL_SAGEMAKER": place.servers.sagemaker_endpoint,
        "REQUESTS_CA_BUNDLE": str(place.servers.tls.authority),
    }
    return {name: value for name, value in keys.items() if not name.startswith("FACETRAIN")}


def test_the_aws_cli_creates_and_describes(place: Place) -> None:
    aws, request = Path(sys.executable).with_name("aws"), place.request()

    def run(*words: str) -> Any:
        command = [str(aws), "sagemaker", *words, "--output", "json"]
        done = subprocess.run(
            command, env=client_environment(place), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert run("create-training-job", "--cli-input-json", json.dumps(request))["TrainingJobArn"]
    name = request["TrainingJobName"]
    place.wait(name)
    assert run("describe-training-job", "--training-job-name", name)["TrainingJobStatus"] == "Completed"


SDK_SCRIPT = """
import json, sys
from sagemaker.core.resources import TrainingJob
from sagemaker.core.shapes import AlgorithmSpecification, OutputDataConfig, ResourceConfig, StoppingCondition
r = json.loads(sys.argv[1])
a, o, c, s = (
    r[n] for n in ("AlgorithmSpecification", "OutputDataConfig", "ResourceConfig", "StoppingCondition"))
def make(name, script):
    return TrainingJob.create(
        training_job_name=name, role_arn=r["RoleArn"], hyper_parameters={"script": json.dumps(script)},
        algorithm_specification=AlgorithmSpecification(
            training_image=a["TrainingImage"], training_input_mode=a["TrainingInputMode"]),
        output_data_config=OutputDataConfig(s3_output_path=o["S3OutputPath"]),
        resource_config=ResourceConfig(
            instance_type=c["InstanceType"], instance_count=1, volume_size_in_gb=1),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=s["MaxRuntimeInSeconds"]))
name = r["TrainingJobName"]
make(name, "").wait(poll=1)
job = TrainingJob.get(training_job_name=name)
other = make(name + "-2", "time.sleep(60)")
other.stop()
other.wait(poll=1)
print(json.dumps([job.training_job_status, other.refresh().training_job_status]))
"""


@pytest.mark.skipif(
    "FACETRAIN_TEST_SDK" not in os.environ and importlib.util.find_spec("sagemaker") is None,
    reason="the SageMaker SDK (1 GB) is not installed: uv pip install -e '.[sdk]'",
)
def test_the_sagemaker_sdk_creates_waits_gets_and_stops(place: Place) -> None:
    python = os.environ.get("FACETRAIN_TEST_SDK", sys.executable)
    done = subprocess.run(
        [python, "-c", SDK_SCRIPT, json.dumps(place.request())],
        env=client_environment(place), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["Completed", "Stopped"]
