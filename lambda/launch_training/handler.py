"""Where Lambda enters: an event is told from another here, and the real AWS is chosen here."""

import functools
import os
from dataclasses import replace
from typing import Any

from launch_training import capacity, rejection
from launch_training.adapters import Aws, Clients
from launch_training.events import (
    FORMS,
    Submission,
    Sweep,
    UnknownEventError,
    by_hand,
    from_record,
    from_schedule,
)
from launch_training.launch import Outcome, Status, launch
from launch_training.log import decision, failure
from launch_training.reconcile import reconcile
from training.jobs.platform import Platform
from training.jobs.problems import Problem, ProblemsError


@functools.cache
def bootstrap() -> tuple[Platform, Aws]:
    """The deployment that this function belongs to, and AWS. Once a process."""
    platform = Platform.from_json(os.environ["FACETRAIN_PLATFORM"])
    return platform, Aws(Clients(platform.region), platform, os.environ["FACETRAIN_QUEUE_URL"])


def handle(event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda passes both
    return route(event, *bootstrap())


def route(event: Any, platform: Platform, aws: Aws) -> dict[str, Any]:
    """The answer to any event. Raises UnknownEventError, and what a direct invocation should hear of AWS."""
    if isinstance(event, dict) and isinstance(event.get("Records"), list):
        failed = [record["messageId"] for record in event["Records"] if not _done(record, platform, aws)]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
    if isinstance(event, dict) and "manifest" in event:
        return _by_hand(event, platform, aws)
    if isinstance(event, dict) and event.get("reconcile") is True:
        return reconcile(from_schedule(event), platform, aws)
    decision("unknown event")
    raise UnknownEventError(FORMS)


def _done(record: dict[str, Any], platform: Platform, aws: Aws) -> bool:
    """Whether the message may leave the queue; otherwise it comes again, and at last is set aside."""
    try:
        task = from_record(record)
        if isinstance(task, Sweep):
            reconcile(task, platform, aws)
        else:
            _from_queue(task, platform, aws)
    except Exception as error:  # noqa: BLE001 - one message's trouble must not fail the whole batch
        failure(error, message_id=record["messageId"])
        return False
    return True


def _from_queue(submission: Submission, platform: Platform, aws: Aws) -> None:
    outcome = launch(submission, platform, aws)
    if outcome.status is Status.REFUSED and outcome.drop:
        rejection.reject(submission.location, outcome.drop, outcome.problems, aws)
    if outcome.status is Status.WAITING:
        capacity.wait_in_queue(_pinned(submission, outcome), outcome.message, aws)


def _by_hand(event: dict[str, Any], platform: Platform, aws: Aws) -> dict[str, Any]:
    try:
        submission = by_hand(event, platform)
    except ProblemsError as error:
        return _errors(error.problems)
    outcome = launch(submission, platform, aws)
    if outcome.status is Status.WAITING:
        capacity.wait_in_queue(_pinned(submission, outcome), outcome.message, aws)
    if outcome.status is Status.GONE:
        return _errors([Problem("manifest", f"there is nothing at {submission.location}: upload it first")])
    return _errors(outcome.problems) if outcome.problems else _answer(outcome)


def _pinned(submission: Submission, outcome: Outcome) -> Submission:
    """The very drop that was looked at, whatever is newest when its turn comes."""
    drop = outcome.drop
    return replace(submission, version_id=drop.version_id, etag=drop.etag) if drop else submission


def _answer(outcome: Outcome) -> dict[str, Any]:
    answer = {"job_name": outcome.job_name, "job_arn": outcome.job_arn, "status": str(outcome.status)}
    return answer | ({"message": outcome.message} if outcome.message else {})


def _errors(problems: Any) -> dict[str, Any]:
    return {"errors": [{"path": problem.path, "message": problem.message} for problem in problems]}
