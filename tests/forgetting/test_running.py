"""Jobs that read the person are stopped, and waited for."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from facetrain.forgetting import running
from training.jobs.uri import S3Uri


class Jobs:
    """Answers each Describe with the next state of the row."""

    def __init__(self, states: list[str], refusal: str = "") -> None:
        self.states, self.refusal = states, refusal

    def stop_training_job(self, TrainingJobName: str) -> None:
        if self.refusal:
            raise ClientError({"Error": {"Code": self.refusal}}, "StopTrainingJob")

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"TrainingJobStatus": state}


def stop(jobs: Jobs) -> tuple[list[str], int]:
    """What goes on, and how often was waited; every wait is a minute."""
    waits: list[float] = []
    left = running.stop(jobs, ["one"], waits.append, lambda: 60.0 * len(waits))
    return left, len(waits)


def test_its_end_is_waited_for() -> None:
    assert stop(Jobs(["Stopping", "Stopping", "Stopped"])) == ([], 2)


def test_one_that_never_ends_is_given_up_and_told() -> None:
    assert stop(Jobs(["Stopping"])) == (["one"], 11)


@pytest.mark.parametrize("state", ["Stopping", "Completed"])
def test_one_that_cannot_be_stopped_for_it_stops_already_is_no_error(state: str) -> None:
    assert stop(Jobs([state, "Completed"], refusal="ValidationException")) == ([], 0)


def test_without_the_permission_nothing_goes_on() -> None:
    with pytest.raises(ClientError, match="AccessDeniedException"):
        stop(Jobs(["InProgress"], refusal="AccessDeniedException"))


class Foreign:
    """One running job of somebody else's, with these channels."""

    def __init__(self, *channels: dict[str, Any]) -> None:
        self.channels = channels

    def get_paginator(self, _: str) -> "Foreign":
        return self

    def paginate(self, StatusEquals: str) -> list[dict[str, Any]]:
        return [{"TrainingJobSummaries": [{"TrainingJobName": "theirs"}]}]

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        return {"InputDataConfig": [{"DataSource": source} for source in self.channels]}


@pytest.mark.parametrize("reads", [True, False])
def test_jobs_of_others_read_from_anywhere(reads: bool) -> None:
    mine = {"S3DataSource": {"S3Uri": "s3://photos/inputs/" if reads else "s3://photos/other/"}}
    point = {"S3DataSource": {"S3Uri": "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/a/inputs/"}}
    jobs = Foreign(point, {"FileSystemDataSource": {"FileSystemId": "fs-1"}}, mine)
    assert running.reading(jobs, [S3Uri("photos", "inputs/staff/")]) == ["theirs"] * reads
