"""S3, SageMaker, SQS, SNS and CloudWatch as the launcher meets them, held in memory.

Each call asks `world.turn` first and last, so that a test can stop there, go on elsewhere, or let it fail.
"""

import hashlib
import io
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError

from launch_training.adapters import Aws
from training.jobs.platform import Platform

PLATFORM = replace(
    Platform.example("test"),
    topic_arn="arn:aws:sns:us-east-1:000000000000:notices",
    allowed_buckets=("shared",),
)
MANIFEST: dict[str, Any] = {"schema": 1, "algorithm": "arcface", "channels": {"images": "images/"}}
KEY = "inputs/staff/manifest.json"
REJECTION = "inputs/staff/manifest.rejected.json"


def aws_error(code: str, operation: str = "Operation", message: str = "as AWS words it today") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


@dataclass
class Version:
    id: str
    body: bytes | None  # None: a delete marker

    @property
    def etag(self) -> str:
        return hashlib.md5(self.body or b"").hexdigest()


def _always(_service: str, _operation: str, _moment: str) -> None:
    """Let every call through."""


@dataclass
class World:
    """What lies in the account. `turn(service, operation, "before" | "after")` may raise."""

    turn: Callable[[str, str, str], None] = _always
    versioned: bool = True
    capacity: bool = True
    time: float = 1_800_000_000.0
    objects: dict[tuple[str, str], list[Version]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: list[tuple[dict[str, Any], int]] = field(default_factory=list)
    published: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    denied: set[tuple[str, str]] = field(default_factory=set)  # (operation, bucket)
    calls: list[str] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def call(self, service: str, operation: str, bucket: str = "") -> Iterator[None]:
        self.turn(service, operation, "before")
        self.calls.append(operation)
        if (operation, bucket) in self.denied:
            raise aws_error("AccessDenied", operation)
        yield
        self.turn(service, operation, "after")

    # -- what a test does and sees ---------------------------------------------------------------------------

    def put(
        self, key: str, body: bytes | str | dict[str, Any], bucket: str = PLATFORM.inputs_bucket
    ) -> Version:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        data = data.encode() if isinstance(data, str) else data
        history = self.objects.setdefault((bucket, key), [])
        if not self.versioned:
            history.clear()
        history.append(Version(f"v{next(self._ids)}", data))
        return history[-1]

    def current(self, key: str, bucket: str = PLATFORM.inputs_bucket) -> Version | None:
        history = self.objects.get((bucket, key), [])
        return history[-1] if history and history[-1].body is not None else None

    def remove(self, key: str, bucket: str = PLATFORM.inputs_bucket) -> None:
        self.objects.setdefault((bucket, key), []).append(Version(f"v{next(self._ids)}", None))

    def read_json(self, key: str, bucket: str = PLATFORM.inputs_bucket) -> dict[str, Any]:
        version = self.current(key, bucket)
        assert version is not None, f"nothing at {bucket}/{key}"
        assert version.body is not None
        value: dict[str, Any] = json.loads(version.body)
        return value

    def keys(self, bucket: str) -> list[str]:
        return sorted(key for there, key in self.objects if there == bucket and self.current(key, bucket))

    def aws(self, platform: Platform = PLATFORM) -> Aws:
        aws = Aws(FakeClients(self), platform, "https://sqs/launch")
        aws.now = lambda: self.time  # type: ignore[method-assign]
        return aws


class FakeClients:
    """One object for all five services: their operations have different names."""

    def __init__(self, world: World) -> None:
        self.s3 = FakeS3(world)
        self.sagemaker = FakeSageMaker(world)
        self.sqs = self.sns = self.cloudwatch = FakeMessaging(world)


class FakeS3:
    """To who may list a prefix only, as the launcher's role, an absent object looks like a forbidden one."""

    def __init__(self, world: World) -> None:
        self.world = world

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        with self.world.call("s3", "HeadObject", Bucket):
            version = self.world.current(Key, Bucket)
            if version is None:
                raise aws_error("403", "HeadObject")
            return self._described(version)

    def get_object(
        self, Bucket: str, Key: str, VersionId: str | None = None, IfMatch: str | None = None
    ) -> dict[str, Any]:
        with self.world.call("s3", "GetObject", Bucket):
            version = self.world.current(Key, Bucket)
            if VersionId is not None:
                history = self.world.objects.get((Bucket, Key), [])
                version = next((one for one in history if one.id == VersionId), None)
                if version is None:
                    raise aws_error("NoSuchVersion", "GetObject")
            if version is None:
                raise aws_error("AccessDenied", "GetObject")
            if version.body is None:
                raise aws_error("MethodNotAllowed", "GetObject")
            if IfMatch is not None and IfMatch != version.etag:
                raise aws_error("PreconditionFailed", "GetObject")
            return {"Body": io.BytesIO(version.body), **self._described(version)}

    def put_object(
        self, Bucket: str, Key: str, Body: bytes, ContentType: str, IfNoneMatch: str | None = None
    ) -> dict[str, Any]:
        with self.world.call("s3", "PutObject", Bucket):
            if IfNoneMatch == "*" and self.world.current(Key, Bucket):
                raise aws_error("PreconditionFailed", "PutObject")
            return self._described(self.world.put(Key, Body, Bucket))

    def delete_object(self, Bucket: str, Key: str, VersionId: str | None = None) -> None:
        with self.world.call("s3", "DeleteObject", Bucket):
            history = self.world.objects.get((Bucket, Key), [])
            if VersionId is None and self.world.versioned:
                raise AssertionError("the launcher takes away no more than the version it knows")
            history[:] = [one for one in history if VersionId is not None and one.id != VersionId]

    def list_objects_v2(
        self,
        Bucket: str,
        Prefix: str,
        Delimiter: str = "",
        MaxKeys: int = 1000,
        ContinuationToken: str = "",
    ) -> dict[str, Any]:
        with self.world.call("s3", "ListObjectsV2", Bucket):
            own = {PLATFORM.inputs_bucket, PLATFORM.outputs_bucket}
            if Bucket not in own | {bucket for bucket, _ in self.world.objects}:
                raise aws_error("NoSuchBucket", "ListObjectsV2")
            entries: dict[str, dict[str, Any]] = {}
            for key in self.world.keys(Bucket):
                if key.startswith(Prefix):
                    cut = key.find(Delimiter, len(Prefix)) if Delimiter else -1
                    name = key if cut < 0 else key[: cut + 1]
                    entries[name] = {"Prefix": name} if cut >= 0 else self._listed(key, Bucket)
            names = [name for name in sorted(entries) if name > ContinuationToken]
            page = [entries[name] for name in names[:MaxKeys]]
            answer: dict[str, Any] = {
                "Contents": [entry for entry in page if "Key" in entry],
                "CommonPrefixes": [entry for entry in page if "Prefix" in entry],
            }
            return answer | ({"NextContinuationToken": names[MaxKeys - 1]} if len(names) > MaxKeys else {})

    def get_paginator(self, operation: str) -> "FakeS3":
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            page = self.list_objects_v2(**arguments, ContinuationToken=token)
            yield page
            token = page.get("NextContinuationToken", "")
            if not token:
                return

    def _listed(self, key: str, bucket: str) -> dict[str, Any]:
        version = self.world.current(key, bucket)
        assert version is not None
        return {"Key": key, "Size": len(version.body or b"")}

    def _described(self, version: Version) -> dict[str, Any]:
        known = {"VersionId": version.id} if self.world.versioned else {}
        return {"ETag": f'"{version.etag}"', **known}


class FakeSageMaker:
    """Counts the quota before it compares names: the harder order for a caller."""

    def __init__(self, world: World) -> None:
        self.world = world

    def create_training_job(self, **request: Any) -> dict[str, Any]:
        with self.world.call("sagemaker", "CreateTrainingJob"):
            name = request["TrainingJobName"]
            if not self.world.capacity:
                raise aws_error("ResourceLimitExceeded", "CreateTrainingJob")
            if name in self.world.jobs:
                raise aws_error("ResourceInUse", "CreateTrainingJob")
            arn = f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}"
            self.world.jobs[name] = {**request, "TrainingJobArn": arn}
            return {"TrainingJobArn": arn}

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        with self.world.call("sagemaker", "DescribeTrainingJob"):
            if TrainingJobName not in self.world.jobs:
                raise aws_error("ValidationException", "DescribeTrainingJob")
            return self.world.jobs[TrainingJobName]


class FakeMessaging:
    def __init__(self, world: World) -> None:
        self.world = world

    def send_message(self, QueueUrl: str, MessageBody: str, DelaySeconds: int) -> None:
        with self.world.call("sqs", "SendMessage"):
            assert 0 <= DelaySeconds <= 900
            self.world.sent.append((json.loads(MessageBody), DelaySeconds))

    def publish(self, **message: Any) -> None:
        with self.world.call("sns", "Publish"):
            self.world.published.append(message)

    def put_metric_data(self, Namespace: str, MetricData: list[dict[str, Any]]) -> None:
        with self.world.call("cloudwatch", "PutMetricData"):
            self.world.metrics += [{"Namespace": Namespace, **datum} for datum in MetricData]


# -- events as they arrive -----------------------------------------------------------------------------------


def object_created(version: Version, key: str = KEY, versioned: bool = True) -> dict[str, Any]:
    """The body that EventBridge sends for a drop (S3 user guide, "Event message structure")."""
    found = {"key": key, "size": len(version.body or b""), "etag": version.etag, "sequencer": "00"}
    return {
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {
            "bucket": {"name": PLATFORM.inputs_bucket},
            "object": found | ({"version-id": version.id} if versioned else {}),
            "reason": "PutObject",
        },
    }


def batch(*bodies: Any) -> dict[str, Any]:
    """SQS records as Lambda gets them; the message ids count from m0."""
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": {"SentTimestamp": "1800000000000", "ApproximateReceiveCount": "1"},
                "eventSource": "aws:sqs",
            }
            for number, body in enumerate(bodies)
        ]
    }


def with_images(world: World, folder: str = "inputs/staff/") -> World:
    world.put(f"{folder}images/anna/1.jpg", b"jpeg")
    return world
