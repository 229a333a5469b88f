"""No machine is free, or the account may not have it: no failure, but a reason to wait in the queue.

A message that is sent again is new to the queue, so waiting never counts as a failed receive, and its time in
the queue starts anew; `first_seen` travels with it and ends the waiting when the queue would have.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from launch_training.adapters import Aws
from launch_training.events import Submission
from launch_training.log import decision
from training.jobs.uri import S3Uri

FIRST_DELAY_SECONDS = 30
LONGEST_DELAY_SECONDS = 900  # the most that SQS takes
LONGEST_WAIT_SECONDS = 14 * 24 * 3600  # the most that SQS keeps a message


class WaitedTooLongError(RuntimeError):
    """There was no capacity for as long as a message may wait: the dead-letter queue's turn."""


def delay_seconds(attempt: int) -> int:
    """30 s, twice as long each time, at most 15 minutes."""
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS << min(attempt, 10))


def quota_name(request: Mapping[str, Any]) -> str:
    """As Service Quotas calls it, under Amazon SageMaker."""
    spot = "spot " if request["EnableManagedSpotTraining"] else ""
    return f"{request['ResourceConfig']['InstanceType']} for {spot}training job usage"


def explain(request: Mapping[str, Any], region: str, answer: str) -> str:
    """What is missing and where to ask for it. `answer` is SageMaker's own message."""
    count = request["ResourceConfig"]["InstanceCount"]
    return (
        f'no capacity now for {count} instance(s) of the quota "{quota_name(request)}"; if it is too small, '
        f"ask for more at https://{region}.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas"
        f" (SageMaker: {answer})"
    )


def wait_in_queue(submission: Submission, message: str, aws: Aws) -> None:
    """Send the submission again, later. The first time, say so on the topic. Raises WaitedTooLongError."""
    now = aws.now()
    first_seen = submission.first_seen or now
    if now - first_seen > LONGEST_WAIT_SECONDS:
        raise WaitedTooLongError(f"{submission.location} waited for 14 days: {message}")
    if submission.attempt == 0:
        _announce(submission.location, message, aws)
    delay = delay_seconds(submission.attempt)
    again = replace(submission, first_seen=first_seen, attempt=submission.attempt + 1)
    aws.queue.send(again.message(), delay)
    decision("waiting", manifest=submission.location, attempt=again.attempt, seconds=delay)


def _announce(manifest: S3Uri, message: str, aws: Aws) -> None:
    remedy = "The job starts by itself once there is room; to give up, delete the manifest."
    text = f"{manifest}: {message}.\n{remedy}\n"
    aws.notices.publish(f"Facetrain: {manifest.folder.name} waits for capacity", text)
    aws.notices.count("WaitingForCapacity")
