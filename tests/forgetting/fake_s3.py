"""Buckets that keep every version, held in memory, with boto3's own signatures; three versions a page."""

import datetime as dt
import hashlib
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

PAGE = 3


@dataclass
class Stored:
    id: str
    body: bytes | None  # None: a delete marker
    at: dt.datetime
    tags: list[dict[str, str]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)


@dataclass
class FakeS3:
    """`after`: so many changes are made, then every call fails, as if the program had been killed.

    `suspended`: no more versions are kept than there are.
    """

    objects: dict[tuple[str, str], list[Stored]] = field(default_factory=dict)  # the newest last
    denied: set[str] = field(default_factory=set)  # operations
    uploads: list[tuple[str, str, str]] = field(default_factory=list)  # never completed: bucket, key, id
    after: int | None = None
    changes: int = 0
    suspended: bool = False
    _ids: Iterator[int] = field(default_factory=itertools.count)

    # -- what a test does and sees -------------------------------------------------------------------------

    def put(self, bucket: str, key: str, body: bytes | None, **about: Any) -> str:
        number = next(self._ids)
        at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=number)
        history, name = self.objects.setdefault((bucket, key), []), f"v{number}"
        if self.suspended:
            history[:], name = [stored for stored in history if stored.id != "null"], "null"
        history.append(Stored(name, body, at, about=about))
        return name

    def body(self, bucket: str, key: str) -> bytes:
        found = self._current(bucket, key).body
        assert found is not None
        return found

    def versions(self, bucket: str, key: str) -> int:
        return len(self.objects.get((bucket, key), []))

    def everything(self) -> Iterator[tuple[str, bytes]]:
        """The key and the bytes of every version."""
        for (_, key), history in self.objects.items():
            yield from ((key, stored.body) for stored in history if stored.body is not None)

    # -- boto3 -----------------------------------------------------------------------------------------------

    def get_paginator(self, operation: str) -> "FakeS3 | _Unfinished":
        if operation == "list_multipart_uploads":
            return _Unfinished(self)
        assert operation == "list_object_versions"
        return self

    def abort_multipart_upload(self, Bucket: str, Key: str, UploadId: str) -> None:
        self._change("AbortMultipartUpload")
        if (Bucket, Key, UploadId) not in self.uploads:
            raise _error("NoSuchUpload", "AbortMultipartUpload")
        self.uploads.remove((Bucket, Key, UploadId))

    def paginate(self, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        self._allow("ListObjectVersions")
        entries = [
            {
                "Key": key,
                "VersionId": stored.id,
                "IsLatest": stored is history[-1],
                "LastModified": stored.at,
                "Size": len(stored.body or b""),
                "marker": stored.body is None,
            }
            for (bucket, key), history in sorted(self.objects.items())
            for stored in reversed(history)
            if bucket == Bucket and key.startswith(Prefix)
        ]
        for page in [entries[at : at + PAGE] for at in range(0, len(entries) or 1, PAGE)]:
            yield {
                "Versions": [entry for entry in page if not entry["marker"]],
                "DeleteMarkers": [entry for entry in page if entry["marker"]],
            }

    def get_object(self, Bucket: str, Key: str, VersionId: str | None = None) -> dict[str, Any]:
        self._allow("GetObject")
        self._allow(f"GetObject of {PurePosixPath(Key).suffix}")
        stored = self._stored(Bucket, Key, VersionId)
        if stored.body is None:
            refused = _error("MethodNotAllowed" if VersionId else "NoSuchKey", "GetObject")
            headers: Any = {"HTTPHeaders": {"x-amz-delete-marker": "true"}}
            refused.response["ResponseMetadata"] = headers
            raise refused
        return {"Body": io.BytesIO(stored.body), "ETag": _etag(stored.body), **stored.about}

    def head_object(self, Bucket: str, Key: str, VersionId: str, **_: str) -> dict[str, Any]:
        return self.get_object(Bucket, Key, VersionId)

    def put_object(
        self,
        Bucket: str,
        Key: str,
        Body: bytes | BinaryIO,
        IfMatch: str | None = None,
        IfNoneMatch: str | None = None,
        **about: Any,
    ) -> dict[str, Any]:
        self._allow(f"PutObject of {Key.split('/')[1]}")
        self._change("PutObject")
        history = self.objects.get((Bucket, Key), [])
        there = history[-1].body if history else None
        if IfNoneMatch and there is not None:
            raise _error("PreconditionFailed", "PutObject")
        if IfMatch and (there is None or _etag(there) != IfMatch):
            raise _error("PreconditionFailed" if there is not None else "NoSuchKey", "PutObject")
        body = Body if isinstance(Body, bytes) else Body.read()
        return {"VersionId": self.put(Bucket, Key, body, **about)}

    def upload_fileobj(self, Fileobj: BinaryIO, Bucket: str, Key: str, ExtraArgs: dict[str, Any]) -> None:
        self._change("PutObject")
        self.put(Bucket, Key, Fileobj.read(), **ExtraArgs)

    def delete_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        self._change("DeleteObject")
        return {"VersionId": self.put(Bucket, Key, None)}

    def delete_objects(self, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:
        if "DeleteObjectVersion" in self.denied:
            return {"Errors": [{**one, "Code": "AccessDenied"} for one in Delete["Objects"]]}
        self._change("DeleteObjectVersion")
        for one in Delete["Objects"]:
            history = self.objects[Bucket, one["Key"]]
            history[:] = [stored for stored in history if stored.id != one["VersionId"]]
            if not history:
                del self.objects[Bucket, one["Key"]]
        return {}

    def get_object_tagging(self, Bucket: str, Key: str) -> dict[str, Any]:
        self._allow("GetObjectTagging")
        return {"TagSet": list(self._current(Bucket, Key).tags)}

    def put_object_tagging(self, Bucket: str, Key: str, Tagging: dict[str, Any]) -> None:
        self._change("PutObjectTagging")
        self._current(Bucket, Key).tags = Tagging["TagSet"]

    def _current(self, bucket: str, key: str) -> Stored:
        stored = self._stored(bucket, key, None)
        if stored.body is None:
            raise _error("NoSuchKey", "GetObject")
        return stored

    def _stored(self, bucket: str, key: str, version: str | None) -> Stored:
        history = self.objects.get((bucket, key), [])
        found = [stored for stored in history if version in (None, stored.id)]
        if not found:
            raise _error("NoSuchKey", "GetObject")
        return found[-1]

    def _allow(self, operation: str) -> None:
        if operation in self.denied:
            raise _error("AccessDenied", operation)

    def _change(self, operation: str) -> None:
        self._allow(operation)
        if self.after is not None and self.changes >= self.after:
            raise KeyboardInterrupt
        self.changes += 1


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def _error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "as AWS words it"}}, operation)


@dataclass
class _Unfinished:
    s3: FakeS3

    def paginate(self, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        self.s3._allow("ListMultipartUploads")
        for bucket, key, name in list(self.s3.uploads):
            if bucket == Bucket and key.startswith(Prefix):
                yield {"Uploads": [{"Key": key, "UploadId": name}]}
        yield {}
