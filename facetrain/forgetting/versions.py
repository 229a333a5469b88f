"""Objects in a bucket that keeps every version: what there is of a key, and how a version goes for good."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from facetrain.client import code

_AT_ONCE = 1000  # versions that one DeleteObjects takes


@dataclass(frozen=True)
class Version:
    """One version of an object, or a delete marker. at: when it was written, seconds since 1970."""

    bucket: str
    key: str
    id: str
    size: int
    latest: bool
    at: float
    marker: bool = False


@dataclass(frozen=True)
class Refused:
    """A version that could not be deleted, and the code of why."""

    version: Version
    code: str


def by_key(s3: Any, bucket: str, prefix: str) -> Iterator[list[Version]]:
    """Every version of each key below a prefix, the newest first; in the order of the keys."""
    pending: dict[str, list[Version]] = {}
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        found = [_version(bucket, item, marker=False) for item in page.get("Versions", ())]
        found += [_version(bucket, item, marker=True) for item in page.get("DeleteMarkers", ())]
        for version in sorted(found, key=lambda version: version.key):
            if version.key not in pending:
                # What a page ends with may go on in the next one: only what came before it is whole.
                yield from (_in_order(pending.pop(key)) for key in list(pending))
            pending.setdefault(version.key, []).append(version)
    yield from (_in_order(found) for found in pending.values())


def of_key(s3: Any, bucket: str, key: str) -> list[Version]:
    """Every version of one key, the newest first."""
    first = next(by_key(s3, bucket, key), [])  # before all others that begin so, however many
    return first if first and first[0].key == key else []


def current(versions: Iterable[Version]) -> Version | None:
    """What a plain GET gives; None where the object is deleted."""
    return next((version for version in versions if version.latest and not version.marker), None)


def remove(s3: Any, versions: Sequence[Version], chosen: Sequence[Version]) -> list[Refused]:
    """Deletes chosen versions of a key for good, in an order that brings no older one to light.

    versions: all of the key's, the newest first. Where none with content stays, delete markers go, too. A
    bucket that has stopped to keep versions keeps one, named null: the marker takes its place.
    """
    gone = {version.id for version in chosen}
    stay = [version for version in versions if not version.marker and version.id not in gone]
    if not stay:
        return delete(s3, versions)
    if versions[0].id in gone and (now := current(versions)) is not None:
        try:
            # What is older stays below this.
            marker = s3.delete_object(Bucket=now.bucket, Key=now.key).get("VersionId")
            chosen = [version for version in chosen if version.id != marker]
        except ClientError as error:
            return [Refused(version, code(error)) for version in chosen]
    return delete(s3, chosen)


def delete(s3: Any, versions: Sequence[Version]) -> list[Refused]:
    """Deletes versions of one bucket for good; gives those that S3 did not let go of."""
    refused: list[Refused] = []
    for start in range(0, len(versions), _AT_ONCE):
        batch = versions[start : start + _AT_ONCE]
        asked = [{"Key": version.key, "VersionId": version.id} for version in batch]
        try:
            answer = s3.delete_objects(Bucket=batch[0].bucket, Delete={"Objects": asked, "Quiet": True})
        except ClientError as error:
            refused += [Refused(version, code(error)) for version in batch]
            continue
        errors = {(error["Key"], error.get("VersionId")): error["Code"] for error in answer.get("Errors", ())}
        refused += [
            Refused(version, errors[version.key, version.id])
            for version in batch
            if errors.get((version.key, version.id), "NoSuchVersion") != "NoSuchVersion"
        ]
    return refused


def _version(bucket: str, item: dict[str, Any], *, marker: bool) -> Version:
    written = item["LastModified"].timestamp()
    return Version(
        bucket, item["Key"], item["VersionId"], item.get("Size", 0), item["IsLatest"], written, marker
    )


def _in_order(found: list[Version]) -> list[Version]:
    return sorted(found, key=lambda version: (not version.latest, -version.at))
