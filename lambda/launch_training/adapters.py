"""AWS as the launcher needs it: a few calls, expected errors as values. Only this module knows botocore.

Errors are told by their code, never by their text, which AWS changes at will.
"""

import functools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import botocore.session  # not boto3: its resources and transfers cost a cold start and serve nothing here
from botocore.config import Config
from botocore.exceptions import ClientError

from training.jobs import contract
from training.jobs.platform import Platform
from training.jobs.uri import S3Uri

# One call, its retries included, ends well before the function's own time does.
CALLS = Config(connect_timeout=2, read_timeout=12, retries={"mode": "standard", "total_max_attempts": 3})
_ABSENT = {"404", "NoSuchKey", "NoSuchVersion", "NotFound"}
_HIDDEN = {"403", "AccessDenied", "Forbidden"}
_PRECONDITION = {"412", "PreconditionFailed"}  # not this ETag, or not absent
_NO_SUCH_REVISION = {"405", "MethodNotAllowed", "InvalidArgument"}  # a delete marker's id; no id at all


def code(error: ClientError) -> str:
    """`NoSuchKey` and the like."""
    return str(error.response["Error"]["Code"])


class Clients:
    """The clients, each made at its first use: a launch that goes well needs S3 and SageMaker only."""

    def __init__(self, region: str) -> None:
        self._region = region

    @functools.cached_property
    def _session(self) -> Any:
        return botocore.session.get_session()

    def _client(self, service: str) -> Any:
        return self._session.create_client(service, region_name=self._region, config=CALLS)

    @functools.cached_property
    def s3(self) -> Any:
        return self._client("s3")

    @functools.cached_property
    def sagemaker(self) -> Any:
        return self._client("sagemaker")

    @functools.cached_property
    def sqs(self) -> Any:
        return self._client("sqs")

    @functools.cached_property
    def sns(self) -> Any:
        return self._client("sns")

    @functools.cached_property
    def cloudwatch(self) -> Any:
        return self._client("cloudwatch")


@dataclass(frozen=True)
class Revision:
    """One drop of an object: its version id, or its ETag where the bucket keeps no versions."""

    version_id: str | None
    etag: str | None = None

    @classmethod
    def of(cls, response: Mapping[str, Any]) -> "Revision":
        """From an answer of S3. The version "null" is what an object without versions is called."""
        version_id = response.get("VersionId")
        return cls(None if version_id == "null" else version_id, response["ETag"].strip('"'))

    @property
    def id(self) -> str:
        return self.version_id or self.etag or ""


@dataclass(frozen=True)
class Stored:
    """An object's bytes, at most one more than a manifest may have, and which drop they are."""

    body: bytes
    revision: Revision


class Store:
    """S3."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def newest(self, uri: S3Uri) -> Revision | None:
        """The current revision; None where there is no such object, or no longer."""
        try:
            return Revision.of(self._clients.s3.head_object(Bucket=uri.bucket, Key=uri.key))
        except ClientError as error:
            if self._is_absent(uri, error):
                return None
            if code(error) in _HIDDEN:
                self.read(uri)  # a HEAD is refused without words: GET's refusal names the permission
            raise

    def read(self, uri: S3Uri, revision: Revision | None = None) -> Stored | None:
        """Exactly that revision, or the current one; None where it is gone."""
        which: dict[str, str] = {}
        if revision is not None:
            which = (
                {"VersionId": revision.version_id}
                if revision.version_id
                else {"IfMatch": revision.etag or ""}
            )
        try:
            answer = self._clients.s3.get_object(Bucket=uri.bucket, Key=uri.key, **which)
        except ClientError as error:
            if code(error) in _NO_SUCH_REVISION | _PRECONDITION or self._is_absent(uri, error):
                return None
            raise
        return Stored(answer["Body"].read(contract.MANIFEST_BYTES_LIMIT + 1), Revision.of(answer))

    def holds(self, uri: S3Uri) -> bool:
        """Whether the object exists, or, for a folder, any object in it that is no empty folder marker."""
        listing = {"Bucket": uri.bucket, "Prefix": uri.key}
        if not uri.is_folder:
            first = self._clients.s3.list_objects_v2(**listing, MaxKeys=1).get("Contents", [])
            return any(found["Key"] == uri.key for found in first)
        pages = self._clients.s3.get_paginator("list_objects_v2").paginate(**listing)
        return any(
            found["Size"] > 0 or not found["Key"].endswith("/")
            for page in pages
            for found in page.get("Contents", [])
        )

    def names(self, folder: S3Uri) -> list[str]:
        """What lies directly in a folder, folders with their slash; of a large one the first thousand."""
        page = self._clients.s3.list_objects_v2(Bucket=folder.bucket, Prefix=folder.key, Delimiter="/")
        keys = [found["Key"] for found in page.get("Contents", [])]
        keys += [found["Prefix"] for found in page.get("CommonPrefixes", [])]
        return [key.removeprefix(folder.key) for key in keys if key != folder.key]

    def folders(self, folder: S3Uri, token: str | None, limit: int) -> tuple[list[S3Uri], str | None]:
        """Up to `limit` folders directly in `folder`, and the token of the next page if there is one."""
        more = {"ContinuationToken": token} if token else {}
        page = self._clients.s3.list_objects_v2(
            Bucket=folder.bucket, Prefix=folder.key, Delimiter="/", MaxKeys=limit, **more
        )
        found = [S3Uri(folder.bucket, prefix["Prefix"]) for prefix in page.get("CommonPrefixes", [])]
        return found, page.get("NextContinuationToken")

    def write(self, uri: S3Uri, value: Mapping[str, Any]) -> Revision:
        return Revision.of(self._put(uri, value))

    def write_once(self, uri: S3Uri, value: Mapping[str, Any]) -> bool:
        """Whether it was written now: an object that is there already stays as it is."""
        try:
            self._put(uri, value, IfNoneMatch="*")
        except ClientError as error:
            if code(error) in _PRECONDITION:
                return False
            raise
        return True

    def delete(self, uri: S3Uri, revision: Revision) -> None:
        """That revision and no newer one, where the bucket has versions."""
        which = {"VersionId": revision.version_id} if revision.version_id else {}
        self._clients.s3.delete_object(Bucket=uri.bucket, Key=uri.key, **which)

    def _is_absent(self, uri: S3Uri, error: ClientError) -> bool:
        """S3 says 403 for 404 to who may not list the whole bucket, so what it means only a listing tells."""
        return code(error) in _ABSENT or (code(error) in _HIDDEN and not self.holds(uri))

    def _put(self, uri: S3Uri, value: Mapping[str, Any], **conditions: str) -> Any:
        body = json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
        return self._clients.s3.put_object(
            Bucket=uri.bucket, Key=uri.key, Body=body, ContentType="application/json", **conditions
        )


class NameTakenError(Exception):
    """A training job of this name exists."""


class NoCapacityError(Exception):
    """The account's quota, or the region's machines, are used up."""


class RequestRefusedError(Exception):
    """SageMaker finds the request itself wrong: the same request will never do."""


_ANSWERS = {
    "ResourceInUse": NameTakenError,
    "ResourceLimitExceeded": NoCapacityError,
    "ValidationException": RequestRefusedError,
}


class Jobs:
    """SageMaker."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def create(self, request: Mapping[str, Any]) -> str:
        """The new job's ARN. Raises NameTakenError, NoCapacityError or RequestRefusedError."""
        try:
            return str(self._clients.sagemaker.create_training_job(**request)["TrainingJobArn"])
        except ClientError as error:
            answer = _ANSWERS.get(code(error))
            if answer is None:
                raise
            raise answer(error.response["Error"].get("Message", "")) from error

    def describe(self, name: str) -> dict[str, Any] | None:
        """None where there is none. The service says so with ValidationException; the model has the other."""
        try:
            described: dict[str, Any] = self._clients.sagemaker.describe_training_job(TrainingJobName=name)
        except ClientError as error:
            if code(error) in {"ValidationException", "ResourceNotFound"}:
                return None
            raise
        return described


class Queue:
    """The launch queue, to which what has to wait goes back."""

    def __init__(self, clients: Clients, url: str) -> None:
        self._clients, self._url = clients, url

    def send(self, message: Mapping[str, Any], delay_seconds: int = 0) -> None:
        self._clients.sqs.send_message(
            QueueUrl=self._url, MessageBody=json.dumps(message), DelaySeconds=delay_seconds
        )


class Notices:
    """The notification topic and our own metrics."""

    def __init__(self, clients: Clients, platform: Platform) -> None:
        self._clients, self._platform = clients, platform

    def publish(self, subject: str, message: str) -> None:
        """Subjects are ASCII of at most 100 characters, as SNS wants them. No topic, no message."""
        if self._platform.topic_arn:
            plain = subject.encode("ascii", "replace").decode()[:100]
            self._clients.sns.publish(TopicArn=self._platform.topic_arn, Subject=plain, Message=message)

    def count(self, metric: str) -> None:
        stage = {"Name": "Stage", "Value": self._platform.stage}
        data = {"MetricName": metric, "Dimensions": [stage], "Value": 1.0, "Unit": "Count"}
        self._clients.cloudwatch.put_metric_data(Namespace=contract.OWN_METRICS_NAMESPACE, MetricData=[data])


class Aws:
    """Everything outside that a launch touches, the clock included."""

    def __init__(self, clients: Any, platform: Platform, queue_url: str) -> None:
        self.clients = clients
        self.store = Store(clients)
        self.jobs = Jobs(clients)
        self.queue = Queue(clients, queue_url)
        self.notices = Notices(clients, platform)

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()
