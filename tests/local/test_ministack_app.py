"""MiniStack as we serve it. A new MiniStack that changes what our door relies on fails here."""

import base64
import http.client
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from facetrain.local import services
from facetrain.local.clients import client
from facetrain.local.routes import AUTHENTICATE_PATH
from facetrain.local.services import ACCOUNT, REGION, Servers

ROLE = "reader"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    ],
}


def client_as(gateway: Servers, service: str, key: str, secret: str, token: str | None = None) -> Any:
    session = boto3.Session(key, secret, token, region_name=REGION)
    return session.client(
        service,  # type: ignore[call-overload]
        endpoint_url=gateway.endpoint,
        verify=str(gateway.tls.authority),
        config=Config(proxies={}, retries={"total_max_attempts": 1}),
    )


def error_code(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def post(gateway: Servers, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(f"{gateway.endpoint}{path}", data=body, headers=headers)
    try:
        with gateway._open(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


@pytest.fixture(scope="module")
def role(gateway: Servers) -> Credentials:
    """The keys of a role that may list one bucket."""
    iam, sts = client(gateway, "iam"), client(gateway, "sts")
    arn = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    allowed = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::open-to-reader"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName=ROLE, PolicyName="list", PolicyDocument=policy)
    s3 = client(gateway, "s3")
    s3.create_bucket(Bucket="open-to-reader")
    s3.create_bucket(Bucket="shut-to-reader")
    keys = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


def test_the_clouds_own_key_is_root(gateway: Servers) -> None:
    assert client(gateway, "sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"


@pytest.mark.parametrize("service", ["sts", "s3", "sqs", "ssm"])
def test_roots_key_with_a_wrong_secret_is_refused(gateway: Servers, service: str) -> None:
    call = {
        "sts": "get_caller_identity",
        "s3": "list_buckets",
        "sqs": "list_queues",
        "ssm": "describe_parameters",
    }
    stranger = client_as(gateway, service, gateway.credentials.access_key_id, "wrong")
    assert error_code(getattr(stranger, call[service])) in (
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
    )


@pytest.mark.parametrize("key", ["test", "123456789012", "AKIAIOSFODNN7EXAMPLE"])
def test_no_other_key_is_root(gateway: Servers, key: str) -> None:
    secret = gateway.credentials.secret_access_key
    stranger = client_as(gateway, "s3", key, secret)
    assert error_code(stranger.list_buckets) == "InvalidAccessKeyId"


def test_a_request_without_a_signature_is_refused(gateway: Servers) -> None:
    client(gateway, "s3").create_bucket(Bucket="not-public")
    address = f"{gateway.endpoint}/not-public"
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        gateway._open(urllib.request.Request(address))
    refused.value.close()


@pytest.mark.parametrize("path", ["/_ministack/reset", "/_ministack/config", "/v2/apis"])
def test_ministacks_own_back_doors_are_shut(gateway: Servers, path: str) -> None:
    status, _ = post(gateway, path, b"{}", {"Authorization": "Basic QVdTOm1pbmlzdGFjaw=="})
    assert status == 403


def test_a_presigned_address_works_and_a_tampered_one_does_not(gateway: Servers) -> None:
    s3 = client(gateway, "s3")
    s3.create_bucket(Bucket="presigned")
    s3.put_object(Bucket="presigned", Key="a", Body=b"hello")
    address = s3.generate_presigned_url("get_object", Params={"Bucket": "presigned", "Key": "a"})
    with gateway._open(urllib.request.Request(address)) as answer:
        assert answer.read() == b"hello"
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        gateway._open(urllib.request.Request(address.replace("/a?", "/b?")))
    refused.value.close()


def test_plain_http_is_refused(gateway: Servers) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    connection.request("GET", "/")
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse()
    connection.close()


def test_only_loopback_listens(gateway: Servers) -> None:
    own_address = socket.gethostbyname(socket.gethostname())
    if own_address.startswith("127."):
        own_address = "127.0.0.2"  # loopback too, but not the address we bind
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((own_address, gateway.port), timeout=5)


def test_a_role_may_do_what_its_policy_says_and_nothing_else(gateway: Servers, role: Credentials) -> None:
    s3 = client_as(gateway, "s3", role.access_key, role.secret_key, role.token)
    assert s3.list_objects_v2(Bucket="open-to-reader")["KeyCount"] == 0
    assert error_code(lambda: s3.list_objects_v2(Bucket="shut-to-reader")) == "AccessDenied"
    assert error_code(lambda: s3.put_object(Bucket="open-to-reader", Key="a", Body=b"")) == "AccessDenied"


def forwarded(keys: Credentials | None, body: bytes = b"{}", **changes: Any) -> dict[str, Any]:
    """A CreateTrainingJob call as the SageMaker endpoint forwards it, changed after it was signed."""
    headers = {"Host": "localhost:1234", "X-Amz-Target": "SageMaker.CreateTrainingJob"}
    request = AWSRequest("POST", "https://localhost:1234/", headers=headers, data=body)
    if keys is not None:
        SigV4Auth(keys, "sagemaker", REGION).add_auth(request)
    document = {
        "method": "POST",
        "path": "/",
        "query": "",
        "headers": dict(request.headers.items()),
        "body": base64.b64encode(body).decode(),
    }
    return {**document, **changes}


def ask(gateway: Servers, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    bearer = {"Authorization": f"Bearer {gateway.credentials.bridge_token}"}
    return post(gateway, AUTHENTICATE_PATH, json.dumps(document).encode(), bearer)


def root_keys(gateway: Servers) -> Credentials:
    return Credentials(gateway.credentials.access_key_id, gateway.credentials.secret_access_key)


def test_a_forwarded_request_of_root_names_root(gateway: Servers) -> None:
    answer = ask(gateway, forwarded(root_keys(gateway)))
    assert answer == (200, {"principal_arn": f"arn:aws:iam::{ACCOUNT}:root", "account": ACCOUNT})


def test_a_forwarded_request_of_a_role_names_its_session(gateway: Servers, role: Credentials) -> None:
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/test"
    assert ask(gateway, forwarded(role)) == (200, {"principal_arn": arn, "account": ACCOUNT})


def test_a_forwarded_request_that_was_changed_is_refused(gateway: Servers, role: Credentials) -> None:
    other_body = base64.b64encode(b'{"TrainingJobName": "another"}').decode()
    status, answer = ask(gateway, forwarded(role, body=b"{}", headers=_without_hash(role), body_changed=None))
    assert (status, "principal_arn" in answer) == (200, True)
    status, answer = ask(gateway, {**forwarded(role), "headers": _without_hash(role), "body": other_body})
    assert (status, answer["code"]) == (403, "InvalidSignatureException")


def _without_hash(keys: Credentials) -> dict[str, str]:
    """The signed headers without X-Amz-Content-SHA256, which SDKs send to S3 alone."""
    headers: dict[str, str] = forwarded(keys)["headers"]
    assert "X-Amz-Content-SHA256" not in headers
    return headers


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        (None, "MissingAuthenticationTokenException"),
        (Credentials("AKIAIOSFODNN7EXAMPLE", "secret"), "UnrecognizedClientException"),
        (Credentials("test", "test"), "UnrecognizedClientException"),
    ],
)
def test_a_stranger_gets_the_code_that_aws_gives(
    gateway: Servers, keys: Credentials | None, code: str
) -> None:
    status, answer = ask(gateway, forwarded(keys))
    assert (status, answer["code"]) == (403, code)


def test_a_session_without_its_token_is_unknown(gateway: Servers, role: Credentials) -> None:
    status, answer = ask(gateway, forwarded(Credentials(role.access_key, role.secret_key)))
    assert (status, answer["code"]) == (403, "UnrecognizedClientException")


def test_a_wrong_secret_is_an_invalid_signature(gateway: Servers, role: Credentials) -> None:
    for key, token in ((gateway.credentials.access_key_id, None), (role.access_key, role.token)):
        status, answer = ask(gateway, forwarded(Credentials(key, "wrong", token)))
        assert (status, answer["code"]) == (403, "InvalidSignatureException")


def test_an_expired_session_is_called_expired(gateway: Servers) -> None:
    program = """
import json, sys, time
from facetrain.local import ministack_app
from ministack.services import sts
sts.register_session("ASIAEXPIRED000000000", {"Arn": "arn:aws:sts::000000000000:assumed-role/r/s",
    "UserId": "r:s", "SecretAccessKey": "secret", "SessionToken": "token", "Expiration": time.time() - 1})
print(json.dumps(ministack_app.authenticate(json.load(sys.stdin))))
"""
    document = forwarded(Credentials("ASIAEXPIRED000000000", "secret", "token"))
    run = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(document),
        env=services.ministack_environment(gateway),
        capture_output=True,
        text=True,
        check=True,
    )
    status, answer = json.loads(run.stdout.splitlines()[-1])
    assert (status, answer["code"]) == (403, "ExpiredTokenException")


def test_the_private_routes_are_for_those_who_hold_the_token(gateway: Servers) -> None:
    document = json.dumps(forwarded(root_keys(gateway))).encode()
    status, _ = post(gateway, AUTHENTICATE_PATH, document, {"Authorization": "Bearer guess"})
    assert status == 403


def test_an_objects_event_names_its_version(gateway: Servers) -> None:
    s3, sqs, events = (client(gateway, name) for name in ("s3", "sqs", "events"))
    s3.create_bucket(Bucket="versioned")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(
        Bucket="versioned", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    queue = sqs.create_queue(QueueName="heard")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{**allow, "Resource": arn}]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    events.put_rule(Name="objects", EventPattern=json.dumps({"source": ["aws.s3"]}))
    events.put_targets(Rule="objects", Targets=[{"Id": "queue", "Arn": arn}])

    version = s3.put_object(Bucket="versioned", Key="a", Body=b"1")["VersionId"]

    [message] = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    assert json.loads(message["Body"])["detail"]["object"]["version-id"] == version


def test_what_was_saved_outlives_a_kill_and_what_is_stopped_is_saved(gateway: Servers) -> None:
    ssm, s3 = client(gateway, "ssm"), client(gateway, "s3")
    s3.create_bucket(Bucket="lasting")
    ssm.put_parameter(Name="saved", Value="yes", Type="String")
    gateway.save()
    s3.put_object(Bucket="lasting", Key="after-save", Body=b"kept at once")
    services.stop(gateway.home, grace=0)
    gateway.start_ministack()
    assert ssm.get_parameter(Name="saved")["Parameter"]["Value"] == "yes"
    assert s3.get_object(Bucket="lasting", Key="after-save")["Body"].read() == b"kept at once"

    ssm.put_parameter(Name="stopped", Value="too", Type="String")
    services.stop(gateway.home)
    gateway.start_ministack()
    assert ssm.get_parameter(Name="stopped")["Parameter"]["Value"] == "too"


def test_events_are_filtered_by_the_beginning_of_their_streams_name(gateway: Servers) -> None:
    logs, now = client(gateway, "logs"), int(time.time() * 1000)
    logs.create_log_group(logGroupName="jobs")
    for stream in ("one/algo-1", "two/algo-1"):
        logs.create_log_stream(logGroupName="jobs", logStreamName=stream)
        event = {"timestamp": now, "message": stream}
        logs.put_log_events(logGroupName="jobs", logStreamName=stream, logEvents=[event])

    def filtered(**which: Any) -> list[str]:
        return [event["message"] for event in logs.filter_log_events(logGroupName="jobs", **which)["events"]]

    assert filtered(logStreamNamePrefix="one/") == ["one/algo-1"]
    assert filtered(logStreamNamePrefix="three/") == []
    assert len(filtered()) == 2
