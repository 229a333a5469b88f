"""What the client asks of S3: whether something is there, what lies in a folder, and the last upload."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from facetrain.client import is_missing
from training.jobs.uri import S3Uri

PART_BYTES = 16 * 1024 * 1024  # of a multipart upload; files below it go in one request
PARTS_LIMIT = 10_000  # of one upload (S3)


@dataclass(frozen=True)
class Store:
    """S3, seen through one client."""

    s3: Any

    def holds(self, uri: S3Uri) -> bool:
        """Whether this object exists, or any object with content lies in this folder."""
        if not uri.is_folder:
            return self._head(uri) is not None
        return any(size for _, size in self.sizes(uri))

    def names_in(self, folder: S3Uri) -> list[str]:
        """The names of the objects and folders directly in `folder`; folders end with `/`."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=folder.bucket, Prefix=folder.key, Delimiter="/", PaginationConfig={"MaxItems": 1000}
        )
        names = []
        for page in pages:
            names += [prefix["Prefix"] for prefix in page.get("CommonPrefixes", ())]
            names += [item["Key"] for item in page.get("Contents", ())]
        return [name.removeprefix(folder.key) for name in names if name != folder.key]

    def sizes(self, folder: S3Uri) -> Iterator[tuple[str, int]]:
        """Every key below `folder`, and its size in bytes."""
        for page in self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=folder.bucket, Prefix=folder.key
        ):
            for item in page.get("Contents", ()):
                yield item["Key"], item["Size"]

    def is_same(self, uri: S3Uri, path: Path) -> bool:
        """Whether S3 holds exactly this file's content, by the SHA-256 that S3 verified on its arrival."""
        head = self._head(uri)
        return head is not None and head.get("ChecksumSHA256") == sha256_of(path)

    def put_manifest(self, location: S3Uri, data: bytes) -> str:
        """Writes the manifest, which starts a job; gives the version or ETag that the job is named after."""
        answer = self.s3.put_object(
            Bucket=location.bucket,
            Key=location.key,
            Body=data,
            ContentType="application/json",
            ChecksumAlgorithm="SHA256",
        )
        version: str = answer.get("VersionId", "null")
        return answer["ETag"].strip('"') if version == "null" else version

    def _head(self, uri: S3Uri) -> dict[str, Any] | None:
        try:
            head: dict[str, Any] = self.s3.head_object(Bucket=uri.bucket, Key=uri.key, ChecksumMode="ENABLED")
        except ClientError as error:
            if is_missing(error):
                return None
            raise
        return head


def part_bytes(size: int) -> int:
    """Of a file of `size` bytes: the same on every run, so that parts can be compared."""
    part = PART_BYTES
    while size > part * PARTS_LIMIT:
        part *= 2
    return part


def sha256_of(path: Path, part: int | None = None) -> str:
    """The file's SHA-256 as S3 writes it: base64, or the digest of its parts' digests and their number."""
    size = path.stat().st_size
    part = part or part_bytes(size)
    if size < part:
        return written(digest_of(path, 0, size))
    parts = [digest_of(path, start, part) for start in range(0, size, part)]
    return f"{written(hashlib.sha256(b''.join(parts)).digest())}-{len(parts)}"


def digest_of(path: Path, start: int, size: int) -> bytes:
    """The SHA-256 of at most `size` bytes from `start`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        while size > 0 and (data := file.read(min(size, _READ))):
            digest.update(data)
            size -= len(data)
    return digest.digest()


def written(digest: bytes) -> str:
    """As S3's headers have it."""
    return base64.b64encode(digest).decode()


_READ = 1 << 20
