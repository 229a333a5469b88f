"""Forgetting a person from beginning to end: all is found first, then done in an order that may be cut off.

1. The deletion list: no job that starts from now on learns from the person. A record that it began: a run
   that is cut off leaves it, and one that may write none changes nothing else.
2. Running jobs that read the person's pictures are stopped, and marked with those that ran before: what is
   known of a job by the pictures that it read is not known once they are gone.
3. Inputs, then outputs.
4. The audit record, as it ended.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from facetrain.client import Deployment
from facetrain.forgetting import audit, deletion_list, inputs, marks, outputs, running, unfinished
from facetrain.forgetting.outputs import Outputs, Person
from facetrain.forgetting.places import COPY, PICTURE, RECORDS, SHARD, Found, Note
from facetrain.forgetting.removal import Removed, remove_from_inputs
from facetrain.forgetting.settling import Settled, settle
from facetrain.forgetting.tables import Named
from training.formats.words import many
from training.jobs.forgotten import Forgotten
from training.jobs.uri import S3Uri


@dataclass(frozen=True)
class Seen:
    """Everything that holds the person; nothing is changed yet. listed: on the deletion list already."""

    person: Person
    listed: bool
    found: Found
    running: list[str]
    outputs: Outputs

    @property
    def identity(self) -> str:
        return self.person.named.identity

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there to be deleted or stopped; jobs may be marked from an earlier run."""
        outputs = self.outputs
        return not (self.found.places or self.running or outputs.objects or outputs.checkpoints)


@dataclass(frozen=True)
class Forgot:
    """What was done. endless: jobs that did not stop in time; record: the audit record's key."""

    stopped: list[str]
    endless: list[str]
    inputs: Removed
    outputs: Settled
    record: str

    @property
    def complete(self) -> bool:
        return not (self.endless or self.inputs.left or self.outputs.left)


def look(deployment: Deployment, identity: str, dataset: str, aside: Path, note: Note) -> Seen:
    """Looks everywhere. aside: an empty folder; note: hears what takes long."""
    s3, platform = deployment.s3, deployment.platform
    there, _ = deletion_list.read(s3, platform.inputs_bucket)
    known = there or Forgotten.fresh()
    digest = known.digest(identity, dataset)
    found = inputs.find(s3, platform, identity, dataset=dataset, aside=aside, note=note)
    person = Person(Named(identity, found.files), digest, dataset)
    folders = _folders(found)
    jobs = running.reading(deployment.sagemaker, folders)
    learnt = outputs.find(s3, deployment.sagemaker, platform, person, folders, note=note)
    return Seen(person, any(digest == one for one, _ in known.entries), found, jobs, learnt)


def forget(
    deployment: Deployment,
    seen: Seen,
    aside: Path,
    now: datetime,
    *,
    note: Note,
    went: Callable[[int], None] = lambda _: None,
) -> Forgot:
    """Does what `look` showed. went: hears of each object of the inputs that is done with.

    What fails on the way is in the answer and in the audit record; a ClientError before anything was deleted
    is raised.
    """
    s3, platform, day = deployment.s3, deployment.platform, f"{now:%Y-%m-%d}"
    by = caller(deployment)
    bucket, dataset = platform.inputs_bucket, seen.person.dataset
    listed = deletion_list.add(s3, bucket, seen.identity, dataset, day)
    person = Person(seen.person.named, listed.digest(seen.identity, dataset), dataset)
    key = audit.new_key(now)
    record: dict[str, Any] = {
        "by": by,
        "identity": person.digest,
        "scope": dataset,
        "datasets": seen.found.datasets,
    }
    began = {"complete": False, "left": [{"kind": "run", "why": "began, and has not come to its end"}]}
    audit.write(s3, bucket, key, now, record | began)
    learnt, endless = seen.outputs, []
    if seen.running:
        note(f"stopping {many(len(seen.running), 'job')}")
        endless = running.stop(deployment.sagemaker, seen.running)
        # What they left in the end.
        read = _folders(seen.found)
        learnt = outputs.find(s3, deployment.sagemaker, platform, person, read, note=note)
    for job in learnt.jobs:
        marks.add(s3, job.folder, marks.Mark(person.digest, day, job.why, job.learnt))
    removed = remove_from_inputs(s3, seen.found, aside, went)
    removed.left += unfinished.end(s3, bucket, dataset, note)
    note("taking the person out of models and reports")
    settled = settle(s3, deployment.sagemaker, person, learnt, day)
    stopped = [name for name in seen.running if name not in endless]
    record |= {
        "inputs": {"objects": removed.objects, "versions": removed.versions, "bytes": removed.bytes},
        "outputs": {"objects": settled.objects, "versions": settled.versions, "bytes": settled.bytes},
        "jobs": [{"name": job.name, "why": job.why, "model_learnt": job.learnt} for job in learnt.jobs],
        "stopped": stopped,
        "complete": not (endless or removed.left or settled.left),
        "left": [*audit.left_of(removed.left), *_left(settled, endless, seen.identity)],
    }
    audit.write(s3, bucket, key, now, record)
    return Forgot(stopped, endless, removed, settled, key)


def caller(deployment: Deployment) -> str:
    """The ARN of who asks, as AWS knows them."""
    arn: str = deployment.connection.client("sts").get_caller_identity()["Arn"]
    return arn


def _left(settled: Settled, endless: list[str], identity: str) -> list[dict[str, Any]]:
    """For the record: an archive's address may hold the name."""
    jobs = [{"kind": "running job", "job": name, "why": "did not stop in time"} for name in endless]
    spelt = (unicodedata.normalize("NFC", identity), unicodedata.normalize("NFD", identity))
    name = re.compile("|".join(map(re.escape, spelt)))
    return [*jobs, *({"kind": "outputs", "why": name.sub("…", why)} for why in settled.left)]


def _folders(found: Found) -> set[S3Uri]:
    """Where the person's pictures lie, by which jobs that read them are known."""
    kinds = (COPY, PICTURE, SHARD, RECORDS)
    return {S3Uri(place.bucket, place.key).folder for place in found.places if place.kind in kinds}
