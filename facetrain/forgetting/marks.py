"""What says that a job had to do with somebody who is forgotten since: forgotten.json in the job's folder.

    {"schema": 1, "forgotten": [{"digest": "3a…", "at": "2026-11-22", "why": "trained", "learnt": true}]}

The digest is that of the deletion list and names nobody. It is written before anything of the job is changed:
a run that is killed leaves it, and the next one knows by it what is left to do.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from facetrain.client import code, is_missing
from training.formats.words import people
from training.jobs.contract import FORGOTTEN_NAME
from training.jobs.uri import S3Uri

SCHEMA = 1
TAG = "facetrain:forgotten"  # of the job and of its model: the day
REMEDY = "train again without them"


@dataclass(frozen=True)
class Mark:
    """One person's. learnt: whether the model did, and did not only verify on or show the person."""

    digest: str
    at: str
    why: str
    learnt: bool


def place_of(folder: S3Uri) -> S3Uri:
    return folder.join(FORGOTTEN_NAME)


def read(s3: Any, folder: S3Uri) -> tuple[Mark, ...]:
    """A job's marks; none where it has none. folder: outputs/<dataset>/<job>/."""
    place = place_of(folder)
    try:
        data = s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read()
    except ClientError as error:
        if is_missing(error):
            return ()
        raise
    try:
        return tuple(Mark(**entry) for entry in json.loads(data)["forgotten"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return (Mark("", "", "unknown", learnt=True),)  # not as we wrote it: at least nothing is promised


def add(s3: Any, folder: S3Uri, mark: Mark) -> bool:
    """Whether it was new: a person's first mark of a job stays as it is."""
    there = read(s3, folder)
    if any(known.digest == mark.digest for known in there):
        return False
    place = place_of(folder)
    entries = [dataclasses.asdict(one) for one in (*there, mark)]
    body = json.dumps({"schema": SCHEMA, "forgotten": entries}, indent=1).encode() + b"\n"
    s3.put_object(Bucket=place.bucket, Key=place.key, Body=body, ContentType="application/json")
    return True


def of_job(s3: Any, job: Mapping[str, Any]) -> str | None:
    """What is told of one DescribeTrainingJob answer's model; None where there is nothing to tell.

    To who may not read the outputs nothing can be told.
    """
    outputs = S3Uri.parse(job["OutputDataConfig"]["S3OutputPath"].rstrip("/") + "/")
    return of_folder(s3, outputs.join(f"{job['TrainingJobName']}/"))


def of_folder(s3: Any, folder: S3Uri) -> str | None:
    """The same of a job's folder."""
    try:
        return sentence(read(s3, folder))
    except ClientError as error:
        if code(error) in {"AccessDenied", "403"}:
            return None
        raise


def sentence(marks: Sequence[Mark]) -> str | None:
    """What a user is told of a model; None where it learnt from nobody who is forgotten."""
    days = sorted(mark.at for mark in marks if mark.learnt and mark.at)
    count = sum(mark.learnt for mark in marks)
    if not count:
        return None
    since = f" since {days[0]}" if days else ""
    return f"learnt from {people(count)} who must be forgotten{since}: {REMEDY}"
