"""What jobs left of a person: which jobs and models learnt from them, and every object that holds something.

    outputs/<dataset>/<job>/
      forgotten.json              the job had to do with somebody who is forgotten since (marks.py)
      job.json                    which channels the job read, its weights among them
      output/model.tar.gz         the person's name and centre; lineage.json: where its weights came from
      output/output.tar.gz        faces in the report; tables that name files
    checkpoints/<dataset>/<job>/  centres that nobody can take a person out of: deleted
    inputs/<dataset>/weights/…    copies of models

All versions count: what was deleted or written over holds a person as well as what is there. What is found
here, `settling.settle` takes the person out of.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError

from facetrain.client import code
from facetrain.forgetting import marks
from facetrain.forgetting.archives import Seen
from facetrain.forgetting.running import addresses
from facetrain.forgetting.scan import Note, Object, folder_of, job_of, mapping_of, survey
from facetrain.forgetting.tables import Named
from facetrain.forgetting.versions import Version, by_key
from training.jobs import contract
from training.jobs.forgotten import EVERY_DATASET
from training.jobs.platform import Platform
from training.jobs.request import checkpoint_folder
from training.jobs.uri import S3Uri

TRAINED, VERIFIED, READ = "trained on", "verified on", "read with their dataset"
FINE_TUNED = "fine-tuned from "
GONE = {"ValidationException", "ResourceNotFound", "ResourceNotFoundException"}  # listed no longer
_READ_CHANNELS = ("images", "validation")


@dataclass(frozen=True)
class Person:
    """Whom to look for. digest: what stands for the identity on the deletion list; named: in tables."""

    named: Named
    digest: str
    dataset: str = EVERY_DATASET

    def in_dataset(self, dataset: str) -> bool:
        """Whether the identity of this name there is the person; where it is not known, it may be."""
        return self.dataset == EVERY_DATASET or dataset in ("", self.dataset)

    def has_inputs(self, key: str) -> bool:
        """Whether an object among the inputs is of a dataset that the person is to be forgotten in."""
        folder = f"{contract.INPUTS_PREFIX}{self.dataset}/"
        return self.dataset == EVERY_DATASET or key.startswith(folder)


@dataclass(frozen=True)
class Job:
    """A job that has to do with the person. learnt: whether its model did."""

    name: str
    dataset: str
    folder: S3Uri  # outputs/<dataset>/<job>/
    why: str
    learnt: bool

    @property
    def read_them(self) -> bool:
        """Whether the job itself had the person's pictures, and not only weights of one that had."""
        return not self.why.startswith(FINE_TUNED)

    @property
    def model(self) -> S3Uri:
        return self.folder.join("output/model.tar.gz")


@dataclass(frozen=True)
class Outputs:
    """jobs: in order of folder; objects: to be written anew or deleted; checkpoints: versions to be deleted.

    unread: what could not be looked into, one sentence each, naming nobody.
    """

    jobs: tuple[Job, ...] = ()
    objects: tuple[Object, ...] = ()
    checkpoints: tuple[Version, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all versions that hold something of the person."""
        found = [version.size for it in self.objects for version in it.chosen]
        return sum(found) + sum(version.size for version in self.checkpoints)


def find(
    s3: Any,
    sagemaker: Any,
    platform: Platform,
    person: Person,
    read: Collection[S3Uri] = (),
    *,
    note: Note = lambda _: None,
) -> Outputs:
    """Everything of jobs that has to do with the person. Changes nothing.

    read: folders that hold the person's pictures, as far as they are known: jobs that read them count too,
    for checkpoints and older reports name nobody. note: hears what takes long.
    """
    unread: list[str] = []
    records, holders = survey(s3, platform, person.named, unread, note)
    for folder, record in records.items():
        if read and not record:
            record |= {"request": _described(sagemaker, job_of(folder)[0])}
    jobs = _Jobs(s3, platform, person, records, holders)
    jobs.begin(read)
    while jobs.spread():
        pass
    objects = [theirs for holder in holders if (theirs := jobs.chosen(holder)) is not None]
    checkpoints = [
        version
        for job in jobs.found.values()
        if job.read_them and job.why != VERIFIED
        for versions in by_key(
            s3, platform.outputs_bucket, checkpoint_folder(platform, job.dataset, job.name).key
        )
        for version in versions
    ]
    found = sorted(jobs.found.values(), key=lambda job: job.folder.key)
    return Outputs(tuple(found), tuple(objects), tuple(checkpoints), tuple(unread))


@dataclass
class _Jobs:
    """The jobs found so far, by folder."""

    s3: Any
    platform: Platform
    person: Person
    records: Mapping[str, Mapping[str, Any]]  # job.json by the job's folder
    holders: Sequence[Object]
    found: dict[str, Job] = field(default_factory=dict)

    def begin(self, read: Collection[S3Uri]) -> None:
        """By what each job itself says: its marks, its model's classes, its tables, its channels."""
        for folder in sorted(self.records):
            name, dataset = job_of(folder)
            place = S3Uri(self.platform.outputs_bucket, folder)
            seen = [one for holder in self._of(folder) for one in holder.seen.values()]
            reads = any(_overlap(uri, one) for uri in self._channels(folder, *_READ_CHANNELS) for one in read)
            mine = [mark for mark in marks.read(self.s3, place) if mark.digest == self.person.digest]
            if mine:
                self.found[folder] = Job(name, dataset, place, mine[0].why, mine[0].learnt)
            elif not (reads or self.person.in_dataset(dataset)):
                continue
            elif any(one.learnt for one in seen):
                self.found[folder] = Job(name, dataset, place, TRAINED, learnt=True)
            elif any(one.verified for one in seen):
                self.found[folder] = Job(name, dataset, place, VERIFIED, learnt=False)
            elif any(one.classes for one in seen) and any(one.told for one in seen):
                continue  # it says of everybody that it trained or verified on: the person came later
            elif reads:
                self.found[folder] = Job(name, dataset, place, READ, learnt=False)

    def spread(self) -> bool:
        """Whether there were more: those whose weights came from a model that learnt from the person."""
        learnt = {job.name for job in self.found.values() if job.learnt}
        digests = {
            str(digest)
            for folder, job in self.found.items()
            if job.learnt
            for lineage in self._lineages(folder)
            for digest in mapping_of(lineage.get("files")).values()
        }
        tainted = [holder for holder in self.holders if self._is_tainted(holder, learnt)]
        for folder in sorted(self.records):
            known = self.found.get(folder)
            if known and known.learnt:
                continue
            source = self._source(folder, learnt, digests, tainted)
            if source:
                name, dataset = job_of(folder)
                place = S3Uri(self.platform.outputs_bucket, folder)
                new = Job(name, dataset, place, FINE_TUNED + source, learnt=True)
                self.found[folder] = replace(known, learnt=True) if known else new
        return sum(job.learnt for job in self.found.values()) > len(learnt)

    def chosen(self, holder: Object) -> Object | None:
        """The object with those of its versions that hold something of the person; None where none does."""
        folder = folder_of(holder.key) if holder.uri.bucket == self.platform.outputs_bucket else ""
        job = self.found.get(folder)
        theirs = job is not None and job.read_them
        chosen = tuple(
            version
            for version in holder.versions
            if (seen := holder.seen.get(version.id)) and self._is_theirs(holder, seen) and seen.holds(theirs)
        )
        return Object(holder.versions, holder.seen, chosen) if chosen else None

    def _is_theirs(self, holder: Object, seen: Seen) -> bool:
        if holder.uri.bucket == self.platform.outputs_bucket:
            job = self.found.get(folder_of(holder.key))
            known = job is not None and job.read_them
            return known or self.person.in_dataset(job_of(folder_of(holder.key))[1])
        if seen.pictures_of_them:
            return self.person.has_inputs(holder.key)
        return self.person.in_dataset(str(seen.lineage.get("dataset", "")))

    def _of(self, folder: str) -> Iterator[Object]:
        return (
            holder
            for holder in self.holders
            if holder.uri.bucket == self.platform.outputs_bucket and holder.key.startswith(folder)
        )

    def _lineages(self, folder: str) -> list[Mapping[str, Any]]:
        return [seen.lineage for holder in self._of(folder) for seen in holder.seen.values() if seen.lineage]

    def _channels(self, folder: str, *names: str) -> Iterator[S3Uri]:
        return addresses(mapping_of(self.records[folder].get("request")).get("InputDataConfig") or (), *names)

    def _is_tainted(self, holder: Object, learnt: Set[str]) -> bool:
        """Whether starting from this object is learning from the person."""
        if holder.uri.bucket == self.platform.outputs_bucket:
            return job_of(folder_of(holder.key))[0] in learnt
        return any(
            self._is_theirs(holder, seen) and (seen.learnt or not learnt.isdisjoint(_jobs_in(seen.lineage)))
            for seen in holder.seen.values()
        )

    def _source(
        self, folder: str, learnt: Set[str], digests: Collection[str], tainted: Sequence[Object]
    ) -> str:
        """What of the person's the job started from; empty where it did not."""
        for lineage in self._lineages(folder):
            start = mapping_of(lineage.get("from"))
            for name in _sources_in(lineage):
                if name in learnt:
                    return name
            if str(start.get("sha256")) in digests:
                return str(start.get("name"))
        for uri in self._channels(folder, "weights"):
            for holder in tainted:
                if holder.uri.bucket == uri.bucket and holder.key.startswith(uri.key):
                    return holder.uri.name
        return ""


def _described(sagemaker: Any, name: str) -> dict[str, Any]:
    """What the service remembers of a job; empty where it is of another account, or long gone."""
    try:
        return mapping_of(sagemaker.describe_training_job(TrainingJobName=name))
    except ClientError as error:
        if code(error) not in GONE:
            raise
        return {}


def _jobs_in(lineage: Mapping[str, Any]) -> list[str]:
    """The job that made a model, and those that its weights came from."""
    return [str(lineage.get("job", "")), *_sources_in(lineage)]


def _sources_in(lineage: Mapping[str, Any]) -> list[str]:
    """The jobs that a model's weights came from."""
    jobs = mapping_of(lineage.get("from")).get("jobs")
    return [str(name) for name in jobs] if isinstance(jobs, list) else []


def _overlap(one: S3Uri, other: S3Uri) -> bool:
    return one.bucket == other.bucket and (one.key.startswith(other.key) or other.key.startswith(one.key))
