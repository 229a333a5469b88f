"""Jobs that read a person's pictures right now: found by their channels, and stopped before these go."""

import time
from collections.abc import Callable, Collection, Iterable
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
    channels = (channel["DataSource"].get("S3DataSource", {}) for channel in job.get("InputDataConfig", ()))
    for uri in (S3Uri.parse(source["S3Uri"]) for source in channels if "S3Uri" in source):
        if any(place.bucket == uri.bucket and place.key.startswith(uri.key) for place in places):
            return True
    return False


def _state(sagemaker: Any, name: str) -> str:
    state: str = sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
    return state
