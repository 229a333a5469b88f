"""Manifests compared with jobs, on a schedule: what an event should have started and did not, is started.

One invocation looks at one page of folders and leaves the rest to a message, so that its time does not grow
with the bucket. A folder below inputs/ without a manifest may hold datasets of its own (inputs/team/staff/):
that one level more is looked at, and no deeper, for below lie the pictures.
"""

from collections import Counter
from typing import Any

from launch_training import rejection
from launch_training.adapters import Aws, Revision
from launch_training.events import Submission, Sweep
from launch_training.launch import Launch, Status, launch
from launch_training.log import decision, failure
from training.jobs import contract, governance
from training.jobs.manifest import decode
from training.jobs.platform import Platform
from training.jobs.uri import S3Uri

PAGE = 25  # folders an invocation looks at: it could start a job in each within its time
HAS_ITS_JOB, TOLD, NO_MANIFEST, FAILED = "has its job", "rejected before", "no manifest", "failed"


def reconcile(sweep: Sweep, platform: Platform, aws: Aws) -> dict[str, Any]:
    """What was found, counted. `more` says that the rest waits in the queue."""
    top = S3Uri(platform.inputs_bucket, sweep.folder or contract.INPUTS_PREFIX)
    folders, token = aws.store.folders(top, sweep.token, PAGE)
    found = Counter(_mend_or_log(folder, top, platform, aws) for folder in folders)
    if token:
        aws.queue.send(Sweep(sweep.folder, token).message())
    decision("reconciled", folder=top, found=dict(found), more=bool(token))
    return {"found": dict(found), "more": bool(token)}


def _mend_or_log(folder: S3Uri, top: S3Uri, platform: Platform, aws: Aws) -> str:
    try:
        return _mend(folder, top, platform, aws)
    except Exception as error:  # noqa: BLE001 - one dataset's trouble must not keep the others from their jobs
        failure(error, manifest=folder.join(contract.MANIFEST_NAME))
        return FAILED


def _mend(folder: S3Uri, top: S3Uri, platform: Platform, aws: Aws) -> str:
    location = folder.join(contract.MANIFEST_NAME)
    newest = aws.store.newest(location)
    if newest is None:
        if top.key == contract.INPUTS_PREFIX:
            aws.queue.send(Sweep(folder.key).message())
        return NO_MANIFEST
    submission = Submission(location, newest.version_id, newest.etag)
    _tell_of_ended_basis(location, newest, aws)
    if _was_started(Launch.of(submission, newest, platform, aws)):
        rejection.clear(location, newest, aws)
        return HAS_ITS_JOB
    verdict = rejection.verdict_beside(location, aws.store)
    if verdict and verdict.about == newest.id:
        return TOLD
    # Without capacity there is nothing to send to the queue: the next sweep is the next try.
    outcome = launch(submission, platform, aws)
    if outcome.status is Status.REFUSED:
        rejection.reject(location, newest, outcome.problems, aws)
    return outcome.status


def _tell_of_ended_basis(manifest: S3Uri, drop: Revision, aws: Aws) -> None:
    """Count data that lies there although its basis has ended, and log which: to delete it is for people."""
    stored = aws.store.read(manifest, drop)
    try:
        ended = stored and governance.end_of(decode(stored.body)["governance"]["expires_at"]) <= aws.now()
    except (LookupError, TypeError, ValueError):
        return  # it names no end, or is no manifest, which the rejection tells
    if ended:
        aws.notices.count("DataPastExpiry")
        decision("past its expiry", manifest=manifest)


def _was_started(drop: Launch) -> bool:
    """By the job's record, for an old job may have been deleted from SageMaker's list; else by that list."""
    return drop.aws.store.holds(drop.record_place) or drop.existing() is not None
