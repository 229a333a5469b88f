"""Jobs that read a person's pictures right now: found by their channels, and stopped before these go."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from facetrain.client import TERMINAL
from training.jobs.uri import S3Uri

_STATES = ("InProgress", "Stopping")
_POLL_SECONDS = 1.0
PATIENCE_SECONDS = 600.0  # two minutes until a job is killed, and its uploads


def reading(sagemaker: Any, places: Collection[S3Uri]) -> list[str]:
    """Names of the jobs, anybody's in the account, that run and have one of the objects in a channel."""
    names = (
        job["TrainingJobName"]
        for state in _STATES
        for page in sagemaker.get_paginator("list_training_jobs").paginate(StatusEquals=state)
        for job in page["TrainingJobSummaries"]
    )
    return sorted({name for name in names if places and _reads(sagemaker, name, places)})


def stop(
    sagemaker: Any,
    names: Iterable[str],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> list[str]:
    """Stops jobs and waits for their ends, for until then they write; gives those that go on."""
    left = list(names)
    for name in left:
        try:
            sagemaker.stop_training_job(TrainingJobName=name)
        except ClientError:
            if _state(sagemaker, name) == "InProgress":  # else it ended by itself, or somebody stopped it
                raise
    deadline = clock() + PATIENCE_SECONDS
    while left := [name for name in left if _state(sagemaker, name) not in TERMINAL]:
        if clock() > deadline:
            break
        sleep(_POLL_SECONDS)
    return left


def _reads(sagemaker: Any, name: str, places: Collection[S3Uri]) -> bool:
    job = sagemaker.describe_training_job(TrainingJobName=name)
    return any(
        place.bucket == uri.bucket and place.key.startswith(uri.key)
        for uri in addresses(job.get("InputDataConfig", ()))
        for place in places
    )


def addresses(channels: Iterable[Any], *names: str) -> Iterator[S3Uri]:
    """What channels of these names, or all, read from S3. Other people's jobs read from elsewhere, too."""
    for channel in channels:
        try:
            if not names or channel["ChannelName"] in names:
                yield S3Uri.parse(channel["DataSource"]["S3DataSource"]["S3Uri"])
        except (KeyError, TypeError, ValueError):
            continue  # a file system, an access point


def _state(sagemaker: Any, name: str) -> str:
    state: str = sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
    return state
