"""Takes a person out of what jobs left, as `outputs.find` found it.

First every job is marked, for a run that is killed must leave what the next one knows it by. Then checkpoints
go, and each archive is written anew without the person, before its older versions are deleted for good.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

from facetrain.client import code, explain, is_missing
from facetrain.forgetting import archives, centres, marks, versions
from facetrain.forgetting.outputs import GONE, Job, Outputs, Person
from facetrain.forgetting.scan import Object
from facetrain.forgetting.versions import Refused, Version
from training.formats.words import many
from training.jobs.uri import S3Uri

_CHECKED = {"ChecksumAlgorithm": "SHA256"}


@dataclass
class Settled:
    """What was done. left: what could not be, one sentence each, naming nobody.

    objects: written anew; versions, bytes: deleted for good.
    """

    jobs: int = 0
    models: int = 0
    objects: int = 0
    versions: int = 0
    bytes: int = 0
    left: list[str] = field(default_factory=list)


def settle(s3: Any, sagemaker: Any, person: Person, found: Outputs, day: str) -> Settled:
    """Does all that can be done; what fails is told in `left`. day: YYYY-MM-DD, of the marks."""
    done = Settled(len(found.jobs), sum(job.learnt for job in found.jobs), left=list(found.unread))
    for job in found.jobs:
        with _told(done, job.folder):
            _mark(s3, sagemaker, person, job, day)
    _delete(s3, found.checkpoints, done)
    for one in found.objects:
        with _told(done, one.uri):
            _take_out(s3, person, one, day, done)
    for job in found.jobs:
        if job.learnt:
            with _told(done, job.model):
                _tag(s3, job.model, day)
    return done


def _mark(s3: Any, sagemaker: Any, person: Person, job: Job, day: str) -> None:
    """Writes the job's mark and, where its model learnt from the person, tags the job."""
    marks.add(s3, job.folder, marks.Mark(person.digest, day, job.why, job.learnt))
    if not job.learnt:
        return
    try:
        arn = sagemaker.describe_training_job(TrainingJobName=job.name)["TrainingJobArn"]
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": marks.TAG, "Value": day}])
    except ClientError as error:
        if code(error) not in GONE:
            raise


def _tag(s3: Any, model: S3Uri, day: str) -> None:
    """Tags the model beside the tags that it has."""
    place = {"Bucket": model.bucket, "Key": model.key}
    try:
        there = s3.get_object_tagging(**place)["TagSet"]
    except ClientError as error:
        if is_missing(error) or code(error) == "MethodNotAllowed":  # deleted
            return
        raise
    tags = [tag for tag in there if tag["Key"] != marks.TAG] + [{"Key": marks.TAG, "Value": day}]
    s3.put_object_tagging(**place, Tagging={"TagSet": tags})


# -- Objects -----------------------------------------------------------------------------------------------


def _take_out(s3: Any, person: Person, one: Object, day: str, done: Settled) -> None:
    """Writes what is there now anew, where it holds something of the person; then deletes what did."""
    now = one.current
    if one.key.endswith(archives.SUFFIXES):
        if now:
            _write_archive(s3, person, one, now, day)
    else:
        _take_out_centres(s3, person, one, now, done)
    done.objects += now is not None
    _forget_versions(s3, one.uri, one.versions if now else one.chosen, done)


def _write_archive(s3: Any, person: Person, one: Object, now: Version, day: str) -> None:
    """By way of a temporary file of the archive's size."""
    note = {"at": day, "what": marks.sentence([marks.Mark(person.digest, day, "", learnt=True)])}
    with tempfile.TemporaryFile() as new:
        answer = _get(s3, now)
        archives.rewrite(answer["Body"], cast(BinaryIO, new), person.named, one.seen[now.id], note)
        kept = {name: answer[name] for name in ("ContentType", "Metadata") if answer.get(name)}
        new.seek(0)
        s3.upload_fileobj(new, now.bucket, now.key, ExtraArgs=kept | _CHECKED)


def _take_out_centres(s3: Any, person: Person, one: Object, now: Version | None, done: Settled) -> None:
    """head.safetensors beside a loose classes.csv first, for the table says whose its rows are."""
    head = S3Uri(one.uri.bucket, one.key.removesuffix(centres.TABLE) + centres.HEAD)
    if now:
        table = centres.read_table(_get(s3, now)["Body"].read(), person.named.is_identity)
        _write_head(s3, head, table)
    there = versions.of_key(s3, head.bucket, head.key)
    _forget_versions(s3, head, [it for it in there if it != versions.current(there)], done)
    if now:
        s3.put_object(Bucket=now.bucket, Key=now.key, Body=table.rest, ContentType="text/csv", **_CHECKED)


def _write_head(s3: Any, head: S3Uri, table: centres.Table) -> None:
    """Does nothing where a run that was killed then has done it: there are as few rows as there will be."""
    now = versions.current(versions.of_key(s3, head.bucket, head.key))
    if now is None:
        return
    body = _get(s3, now)["Body"]
    front = centres.read_front(body)
    if centres.rows_of(front) == table.rows - len(table.numbers):
        return
    with tempfile.TemporaryFile() as new:
        new.writelines(centres.without(front, table.numbers, table.rows).chunks(body))
        new.seek(0)
        s3.upload_fileobj(new, head.bucket, head.key, ExtraArgs=_CHECKED)


def _get(s3: Any, version: Version) -> dict[str, Any]:
    answer: dict[str, Any] = s3.get_object(Bucket=version.bucket, Key=version.key, VersionId=version.id)
    return answer


# -- Versions ----------------------------------------------------------------------------------------------


def _forget_versions(s3: Any, uri: S3Uri, chosen: Sequence[Version], done: Settled) -> None:
    """Deletes these versions of one key for good, but never what is there now."""
    ids = {version.id for version in chosen}
    there = versions.of_key(s3, uri.bucket, uri.key)
    gone = [version for version in there if version.id in ids and (version.marker or not version.latest)]
    _count(gone, versions.remove(s3, there, gone), done)


def _delete(s3: Any, chosen: Sequence[Version], done: Settled) -> None:
    _count(chosen, versions.delete(s3, chosen), done)


def _count(asked: Sequence[Version], refused: Sequence[Refused], done: Settled) -> None:
    stay = {(one.version.key, one.version.id) for one in refused}
    gone = [version for version in asked if (version.key, version.id) not in stay and not version.marker]
    done.versions += len(gone)
    done.bytes += sum(version.size for version in gone)
    for (bucket, folder, why), count in Counter(map(_place, refused)).items():
        done.left.append(f"s3://{bucket}/{folder}: {many(count, 'version')} could not be deleted ({why})")


def _place(one: Refused) -> tuple[str, str, str]:
    return one.version.bucket, one.version.key.rpartition("/")[0] + "/", one.code


@contextmanager
def _told(done: Settled, uri: S3Uri) -> Iterator[None]:
    """What fails with one object is told, and does not keep the others from being done."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        done.left.append(f"{uri}: {explain(error)}")
    except (S3UploadFailedError, OSError, *archives.DAMAGED) as error:
        done.left.append(f"{uri}: {error}")
