"""From one drop of a manifest to its one training job. docs/adr/0002 says why this happens exactly once.

Every step can be done again: the job's name follows from the drop alone, SageMaker takes a name once, and
what is written beside the job is written once. So a copy of an event, or a second try after a crash anywhere,
finds what is there and does the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from launch_training import capacity, rejection
from launch_training.adapters import (
    Aws,
    NameTakenError,
    NoCapacityError,
    RequestRefusedError,
    Revision,
    Stored,
)
from launch_training.channels import problems_of
from launch_training.events import Submission
from launch_training.log import decision
from training.jobs.manifest import ManifestError, dataset_of, decode, parse
from training.jobs.platform import Platform
from training.jobs.problems import Problem, ProblemsError
from training.jobs.request import build_request, checkpoint_folder, job_name, job_record
from training.jobs.uri import S3Uri


class Status(StrEnum):
    STARTED = "started"
    ALREADY_STARTED = "already started"
    WAITING = "waiting for capacity"
    REFUSED = "refused"
    GONE = "gone"


class ForeignJobError(RuntimeError):
    """A job that this deployment did not start has the name that the drop leads to."""


class VanishedJobError(RuntimeError):
    """SageMaker says both that the name is taken and that there is no such job."""


@dataclass(frozen=True)
class Outcome:
    """What became of a submission. job_arn where there is a job; problems where it was refused."""

    status: Status
    drop: Revision | None = None
    job_name: str = ""
    job_arn: str | None = None
    message: str = ""
    problems: tuple[Problem, ...] = ()


def launch(submission: Submission, platform: Platform, aws: Aws) -> Outcome:
    """Start the job unless it is there. Raises what only a later try, or an operator, can mend."""
    stored = find(submission, aws)
    outcome = Launch.of(submission, stored.revision, platform, aws).start(stored.body) if stored else _GONE
    if outcome.drop and outcome.status is not Status.REFUSED:
        rejection.clear(submission.location, outcome.drop, aws)
    decision(outcome.status, manifest=submission.location, job=outcome.job_name, message=outcome.message)
    return outcome


_GONE = Outcome(Status.GONE, message="the manifest was deleted, or replaced where no versions are kept")


def find(submission: Submission, aws: Aws) -> Stored | None:
    """The drop; None where the manifest was deleted since, or the drop cannot be read any more.

    An event without a version id means a bucket without versions: where the object has changed since, this
    drop is lost, and the newer one has an event of its own.
    """
    newest = aws.store.newest(submission.location)
    if newest is None:
        return None
    if submission.version_id:
        return aws.store.read(submission.location, Revision(submission.version_id))
    if submission.etag in {None, newest.etag}:
        return aws.store.read(submission.location, newest)
    return None


@dataclass(frozen=True)
class Launch:
    """One drop on its way to the one job that has its name."""

    location: S3Uri
    drop: Revision
    overrides: Mapping[str, Any]
    platform: Platform
    aws: Aws

    @classmethod
    def of(cls, submission: Submission, drop: Revision, platform: Platform, aws: Aws) -> "Launch":
        return cls(submission.location, drop, submission.overrides, platform, aws)

    @property
    def dataset(self) -> str:
        return dataset_of(self.location)

    @property
    def name(self) -> str:
        return job_name(self.platform, self.location, self.dataset, self.drop.id, self.overrides)

    @property
    def record_place(self) -> S3Uri:
        return job_record(self.platform, self.dataset, self.name)

    def existing(self) -> dict[str, Any] | None:
        """The job, if it is there. Raises ForeignJobError where something else made it."""
        described = self.aws.jobs.describe(self.name)
        if described is None:
            return None
        expected = str(checkpoint_folder(self.platform, self.dataset, self.name))
        found = described.get("CheckpointConfig", {}).get("S3Uri")
        if found != expected:
            raise ForeignJobError(
                f"the job {self.name} exists, but keeps its checkpoints at {found}, not {expected}: "
                "something else started it under our name; drop the manifest again, for another name"
            )
        return described

    def start(self, body: bytes) -> Outcome:
        """Create the job; whatever the answer, look whether it is there before believing that it is not.

        It may be there although the manifest is refused now, or although there is no capacity: a copy of the
        event came while the data was still in place, say, or the quota is counted before names are compared.
        """
        request: dict[str, Any] = {}
        try:
            request = self._request(body)
            arn = self.aws.jobs.create(request)
            outcome = Outcome(Status.STARTED, self.drop, self.name, arn)
        except (ProblemsError, RequestRefusedError, NoCapacityError, NameTakenError) as answer:
            described = self.existing()
            if described is None:
                return self._without_job(answer, request)
            outcome = Outcome(Status.ALREADY_STARTED, self.drop, self.name, described["TrainingJobArn"])
            request = {key: described.get(key, value) for key, value in request.items()}
        if request:
            self.aws.store.write_once(self.record_place, self._record(outcome, body, request))
        return outcome

    def _request(self, body: bytes) -> dict[str, Any]:
        manifest = parse(body, self.location, self.platform, self.aws.now(), self.overrides)
        if problems := problems_of(manifest, self.aws.store):
            raise ManifestError(problems)
        forgotten = self.aws.store.holds(self.platform.deletion_list)
        return build_request(manifest, self.platform, self.name, forgotten=forgotten)

    def _without_job(self, answer: Exception, request: Mapping[str, Any]) -> Outcome:
        refused = Outcome(Status.REFUSED, self.drop, self.name)
        if isinstance(answer, ProblemsError):
            return replace(refused, problems=answer.problems)
        if isinstance(answer, RequestRefusedError):
            return replace(refused, problems=(Problem("$", f"SageMaker refuses the job: {answer}"),))
        if isinstance(answer, NoCapacityError):
            message = capacity.explain(request, self.platform.region, str(answer))
            return replace(refused, status=Status.WAITING, message=message)
        raise VanishedJobError(
            f"the name {self.name} is taken, yet there is no such job: try again"
        ) from answer

    def _record(self, outcome: Outcome, body: bytes, request: Mapping[str, Any]) -> dict[str, Any]:
        """job.json, where the model will lie: which drop asked for the job, and what SageMaker was told."""
        return {
            "job_name": outcome.job_name,
            "job_arn": outcome.job_arn,
            "dataset": self.dataset,
            "manifest": str(self.location),
            "version": self.drop.id,
            "governance": decode(body).get("governance", {}),
            "overrides": dict(self.overrides),
            "request": dict(request),
        }
