"""What lies in both buckets that may hold what a job learnt, looked into; and every job's record."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from facetrain.client import explain
from facetrain.forgetting import archives, centres
from facetrain.forgetting.archives import Seen
from facetrain.forgetting.tables import Named
from facetrain.forgetting.versions import Version, by_key, current, of_key
from training.formats.words import many
from training.jobs import contract
from training.jobs.platform import Platform
from training.jobs.uri import S3Uri

_AT_ONCE = 4  # archives that are read at a time
_ARTEFACTS = "/output/"  # between a job's folder and what the service puts there

Note = Callable[[str], None]


@dataclass(frozen=True)
class Object:
    """An archive, or a classes.csv with the centres beside it. versions: all of the key's, newest first."""

    versions: tuple[Version, ...]
    seen: Mapping[str, Seen]  # by the version's id
    chosen: tuple[Version, ...] = ()  # versions that hold something of the person

    @property
    def key(self) -> str:
        return self.versions[0].key

    @property
    def uri(self) -> S3Uri:
        return S3Uri(self.versions[0].bucket, self.key)

    @property
    def current(self) -> Version | None:
        """The version to write anew; None where the one that is there now holds nothing of the person."""
        now = current(self.versions)
        return now if now in self.chosen else None


def survey(
    s3: Any, platform: Platform, named: Named, unread: list[str], note: Note
) -> tuple[dict[str, dict[str, Any]], list[Object]]:
    """Every job's record, by its folder, and everything that may hold a model, looked into.

    The record of a job that left none, as one by hand does, is empty.
    """
    records: dict[str, dict[str, Any]] = {}
    candidates: list[list[Version]] = []
    for versions in by_key(s3, platform.outputs_bucket, contract.OUTPUTS_PREFIX):
        key = versions[0].key
        if key.endswith(f"/{contract.JOB_RECORD_NAME}"):
            records[key.removesuffix(contract.JOB_RECORD_NAME)] = _record(s3, versions, unread)
        elif is_candidate(s3, versions):
            records.setdefault(folder_of(key), {})
            candidates.append(versions)
    for versions in by_key(s3, platform.outputs_bucket, contract.CHECKPOINTS_PREFIX):
        if folder := _folder_of_checkpoint(versions[0].key, platform.job_prefix):
            records.setdefault(folder, {})
    candidates += [
        versions
        for versions in by_key(s3, platform.inputs_bucket, contract.INPUTS_PREFIX)
        if is_candidate(s3, versions)
    ]
    records.pop(contract.OUTPUTS_PREFIX, None)  # what lies in no job's folder is no job's
    if candidates:
        note(f"looking into {many(len(candidates), 'archive')} of models and reports")

    def looked_into(versions: list[Version]) -> Object:
        seen = {}
        for version in versions:
            if not version.marker:
                seen[version.id] = _look(s3, version, named, unread)
        return Object(tuple(versions), seen)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return records, list(pool.map(looked_into, candidates))


def is_candidate(s3: Any, versions: Sequence[Version]) -> bool:
    """Whether it may hold a model's classes."""
    return versions[0].key.endswith(archives.SUFFIXES) or is_classes(s3, versions)


def is_classes(s3: Any, versions: Sequence[Version]) -> bool:
    """Whether it is the table of a model's classes, by the newest version of it."""
    newest = next((version for version in versions if not version.marker), None)
    if newest is None or not newest.key.endswith(f"/{centres.TABLE}"):
        return False
    answer = s3.get_object(Bucket=newest.bucket, Key=newest.key, VersionId=newest.id)
    return centres.is_table(answer["Body"].read(64))


def _look(s3: Any, version: Version, named: Named, unread: list[str]) -> Seen:
    try:
        body = s3.get_object(Bucket=version.bucket, Key=version.key, VersionId=version.id)["Body"]
        if version.key.endswith(archives.SUFFIXES):
            return archives.look(body, named)
        table = centres.read_table(body.read(centres.LARGEST_TABLE), named.is_identity)
        return Seen({"": replace(table, rest=b"")}, lineage=_lineage_beside(s3, version))
    except archives.DAMAGED as error:
        unread.append(
            f"s3://{version.bucket}/{version.key} cannot be read ({error}): delete it if it is a model"
        )
    except ClientError as error:
        unread.append(f"s3://{version.bucket}/{version.key} cannot be read ({explain(error)})")
    return Seen()


def _lineage_beside(s3: Any, table: Version) -> dict[str, Any]:
    key = table.key.removesuffix(centres.TABLE) + contract.LINEAGE_NAME
    return _json(s3, now) if (now := current(of_key(s3, table.bucket, key))) else {}


def _record(s3: Any, versions: Sequence[Version], unread: list[str]) -> dict[str, Any]:
    """A job's record, of the newest version that is none of the delete markers."""
    newest = next((version for version in versions if not version.marker), None)
    try:
        return _json(s3, newest) if newest else {}
    except ClientError as error:
        unread.append(f"s3://{versions[0].bucket}/{versions[0].key} cannot be read: {explain(error)}")
        return {}


def _json(s3: Any, version: Version) -> dict[str, Any]:
    """Empty where it is no JSON object."""
    body = s3.get_object(Bucket=version.bucket, Key=version.key, VersionId=version.id)["Body"]
    try:
        return mapping_of(json.load(body))
    except (ValueError, RecursionError):
        return {}


def mapping_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def folder_of(key: str) -> str:
    """`outputs/<dataset>/<job>/` of what lies in it."""
    folder, found, _ = key.rpartition(_ARTEFACTS)
    return f"{folder}/" if found else key.rpartition("/")[0] + "/"


def _folder_of_checkpoint(key: str, job_prefix: str) -> str:
    """`outputs/<dataset>/<job>/` of what lies in `checkpoints/<dataset>/<job>/`; empty for anything else."""
    parts = key.removeprefix(contract.CHECKPOINTS_PREFIX).split("/")[:-1]
    for number, part in enumerate(parts):
        if part.startswith(f"{job_prefix}-"):
            return f"{contract.OUTPUTS_PREFIX}{'/'.join(parts[: number + 1])}/"
    return ""


def job_of(folder: str) -> tuple[str, str]:
    """The name and the dataset of a job's folder."""
    dataset, _, name = folder.removeprefix(contract.OUTPUTS_PREFIX).rstrip("/").rpartition("/")
    return name, dataset
