"""The adapters against botocore itself: what is sent passes its validation, errors are told by code."""

import json
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from launch_training import handler
from launch_training.adapters import (
    CALLS,
    Aws,
    Clients,
    NameTakenError,
    NoCapacityError,
    RequestRefusedError,
    Revision,
)
from tests.launcher.fakes import MANIFEST, PLATFORM
from training.jobs.manifest import parse
from training.jobs.request import build_request
from training.jobs.uri import S3Uri

FUNCTION_SECONDS = 60  # as the stack sets it
MANIFEST_URI = S3Uri(PLATFORM.inputs_bucket, "inputs/staff/manifest.json")
REQUEST = build_request(
    parse(json.dumps(MANIFEST), MANIFEST_URI, PLATFORM, 0.0), PLATFORM, "facetrain-test-0"
)


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "nobody")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "nobody")
        environment.delenv("AWS_CA_BUNDLE", raising=False)
        yield Clients("us-east-1")


@pytest.fixture
def aws(clients: Clients) -> Aws:
    return Aws(clients, PLATFORM, "https://sqs.us-east-1.amazonaws.com/0/launch")


@pytest.fixture
def sagemaker(clients: Clients) -> Iterator[Stubber]:
    with Stubber(clients.sagemaker) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def s3(clients: Clients) -> Iterator[Stubber]:
    with Stubber(clients.s3) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def test_the_request_passes_botocores_validation_and_is_sent_as_it_is(aws: Aws, sagemaker: Stubber) -> None:
    arn = "arn:aws:sagemaker:us-east-1:000000000000:training-job/facetrain-test-0"
    sagemaker.add_response("create_training_job", {"TrainingJobArn": arn}, REQUEST)
    assert aws.jobs.create(REQUEST) == arn


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("ResourceInUse", NameTakenError),
        ("ResourceLimitExceeded", NoCapacityError),
        ("ValidationException", RequestRefusedError),
        ("AccessDeniedException", ClientError),
        ("ThrottlingException", ClientError),
    ],
)
def test_the_answers_to_a_request_are_told_by_their_code(
    aws: Aws, sagemaker: Stubber, code: str, answer: type[Exception]
) -> None:
    sagemaker.add_client_error("create_training_job", code, "already exists, limit exceeded, not found")
    with pytest.raises(answer):
        aws.jobs.create(REQUEST)


@pytest.mark.parametrize("code", ["ValidationException", "ResourceNotFound"])
def test_a_job_that_does_not_exist_is_none(aws: Aws, sagemaker: Stubber, code: str) -> None:
    sagemaker.add_client_error("describe_training_job", code)
    assert aws.jobs.describe("facetrain-test-0") is None


def test_a_refused_look_at_a_job_is_not_taken_for_its_absence(aws: Aws, sagemaker: Stubber) -> None:
    sagemaker.add_client_error("describe_training_job", "AccessDeniedException")
    with pytest.raises(ClientError):
        aws.jobs.describe("facetrain-test-0")


def test_an_absent_object_is_none(aws: Aws, s3: Stubber) -> None:
    s3.add_client_error("head_object", "404")
    assert aws.store.newest(MANIFEST_URI) is None


def test_an_absent_object_that_looks_forbidden_is_none(aws: Aws, s3: Stubber) -> None:
    s3.add_client_error("head_object", "403")
    s3.add_response("list_objects_v2", {"Contents": []})
    assert aws.store.newest(MANIFEST_URI) is None


def test_a_forbidden_object_is_refused_in_the_words_that_name_the_permission(aws: Aws, s3: Stubber) -> None:
    s3.add_client_error("head_object", "403")
    listed = {"Contents": [{"Key": MANIFEST_URI.key}]}
    s3.add_response("list_objects_v2", listed)
    s3.add_client_error("get_object", "AccessDenied", "not authorized to perform: s3:GetObject")
    s3.add_response("list_objects_v2", listed)
    with pytest.raises(ClientError, match=r"AccessDenied.*s3:GetObject"):
        aws.store.newest(MANIFEST_URI)


def test_an_overloaded_store_is_not_taken_for_an_empty_one(aws: Aws, s3: Stubber) -> None:
    s3.add_client_error("head_object", "SlowDown")
    with pytest.raises(ClientError):
        aws.store.newest(MANIFEST_URI)


@pytest.mark.parametrize(
    "code", ["NoSuchKey", "NoSuchVersion", "MethodNotAllowed", "InvalidArgument", "PreconditionFailed"]
)
def test_a_drop_that_is_gone_is_none(aws: Aws, s3: Stubber, code: str) -> None:
    s3.add_client_error("get_object", code)
    assert aws.store.read(MANIFEST_URI, Revision("v1")) is None


def test_a_version_called_null_is_known_by_its_etag(aws: Aws, s3: Stubber) -> None:
    s3.add_response("head_object", {"ETag": '"abc"', "VersionId": "null"})
    assert aws.store.newest(MANIFEST_URI) == Revision(None, "abc")


def test_a_record_is_written_only_where_there_is_none(aws: Aws, s3: Stubber) -> None:
    where = {"Bucket": PLATFORM.inputs_bucket, "Key": MANIFEST_URI.key, "IfNoneMatch": "*"}
    expected = {**where, "Body": b'{\n  "a": 1\n}\n', "ContentType": "application/json"}
    s3.add_response("put_object", {"ETag": '"abc"'}, expected)
    assert aws.store.write_once(MANIFEST_URI, {"a": 1}) is True
    s3.add_client_error("put_object", "PreconditionFailed")
    assert aws.store.write_once(MANIFEST_URI, {"a": 1}) is False


def test_exactly_the_version_that_is_known_is_deleted(aws: Aws, s3: Stubber) -> None:
    where = {"Bucket": PLATFORM.inputs_bucket, "Key": MANIFEST_URI.key}
    s3.add_response("delete_object", {}, {**where, "VersionId": "v1"})
    aws.store.delete(MANIFEST_URI, Revision("v1", "abc"))


def test_messages_metrics_and_waiting_pass_botocores_validation(aws: Aws, clients: Clients) -> None:
    with Stubber(clients.sns) as sns, Stubber(clients.sqs) as sqs, Stubber(clients.cloudwatch) as cloudwatch:
        subject = "Facetrain: manifest of " + "?" * 77
        sns.add_response("publish", {}, {"TopicArn": PLATFORM.topic_arn, "Subject": subject, "Message": ANY})
        aws.notices.publish("Facetrain: manifest of " + "顔" * 200, "…")
        body = {"QueueUrl": ANY, "MessageBody": '{"manifest": "s3://b/k"}', "DelaySeconds": 900}
        sqs.add_response("send_message", {}, body)
        aws.queue.send({"manifest": "s3://b/k"}, 900)
        cloudwatch.add_response("put_metric_data", {}, {"Namespace": "Facetrain", "MetricData": ANY})
        aws.notices.count("ManifestRejected")


def test_a_call_with_all_its_tries_ends_before_the_function_does() -> None:
    calls: Any = CALLS
    attempts = calls.retries["total_max_attempts"]
    assert attempts * (calls.connect_timeout + calls.read_timeout) < FUNCTION_SECONDS


def test_the_function_reads_its_deployment_from_two_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACETRAIN_PLATFORM", PLATFORM.to_json())
    monkeypatch.setenv("FACETRAIN_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/0/launch")
    handler.bootstrap.cache_clear()
    platform, _ = handler.bootstrap()
    assert platform == PLATFORM
    assert handler.handle({"manifest": "here"}, None)["errors"][0]["path"] == "manifest"
    handler.bootstrap.cache_clear()


def test_nothing_that_botocore_does_not_know_is_asked_of_sagemaker() -> None:
    members: Any = botocore.session.get_session().get_service_model("sagemaker")
    known = members.operation_model("CreateTrainingJob").input_shape.members
    assert set(REQUEST) <= set(known)
