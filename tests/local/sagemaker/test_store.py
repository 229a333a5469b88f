"""Records survive, and nobody changes them by the way."""

from pathlib import Path
from typing import Any

import pytest

from facetrain.local.sagemaker.states import advance, new_record, running_seconds
from facetrain.local.sagemaker.store import NameTakenError, Store


def record(name: str = "a-job", now: float = 100.0, **more: Any) -> dict[str, Any]:
    request = {"TrainingJobName": name, "StoppingCondition": {}, "Tags": [{"Key": "k", "Value": "v"}], **more}
    return new_record(request, f"arn:{name}", now)


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    store.create(record(), {"k": "v"})
    store.update("a-job", lambda r: advance(r, "Downloading", 101.0))
    again = Store(tmp_path / "jobs.sqlite3")  # the first is never closed: as after a crash
    assert again.get("a-job") == store.get("a-job")
    assert again.tags("a-job") == {"k": "v"}


def test_a_name_is_taken_once_and_for_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    store.create(record(), {})
    with pytest.raises(NameTakenError) as caught:
        store.create(record(now=200.0), {})
    assert caught.value.record["CreationTime"] == 100.0


def test_a_change_to_what_the_store_gave_does_not_change_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    store.create(record(), {})
    store.all()[0]["SecondaryStatusTransitions"].clear()
    found = store.get("a-job")
    assert found is not None
    assert len(found["SecondaryStatusTransitions"]) == 1


def test_a_change_that_fails_leaves_the_record(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    store.create(record(), {})
    with pytest.raises(ZeroDivisionError):
        store.update("a-job", lambda r: {**r, "broken": 1 / 0})
    assert store.get("a-job") == record()


def walked(*steps: tuple[str, float]) -> dict[str, Any]:
    job = record()
    for secondary, now in steps:
        job = advance(job, secondary, now)
    return job


def test_a_new_job_is_starting_and_does_not_show_its_tags() -> None:
    job = record()
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("InProgress", "Starting")
    assert "Tags" not in job


def test_each_transition_ends_where_the_next_begins() -> None:
    job = walked(("Downloading", 101.0), ("Training", 105.0), ("Uploading", 110.0), ("Completed", 111.0))
    times = [(step["StartTime"], step["EndTime"]) for step in job["SecondaryStatusTransitions"]]
    assert times == [(100.0, 101.0), (101.0, 105.0), (105.0, 110.0), (110.0, 111.0), (111.0, 111.0)]
    assert (job["TrainingStartTime"], job["TrainingEndTime"]) == (101.0, 111.0)
    assert job["BillableTimeInSeconds"] == 10


def test_uploading_after_a_stop_is_still_stopping() -> None:
    job = walked(("Downloading", 101.0), ("Training", 105.0), ("Stopping", 110.0), ("Uploading", 111.0))
    assert job["TrainingJobStatus"] == "Stopping"
    assert advance(job, "Stopped", 112.0)["TrainingJobStatus"] == "Stopped"


def test_a_job_that_never_had_an_instance_has_no_bill() -> None:
    job = walked(("Pending", 101.0), ("Stopping", 105.0), ("Stopped", 106.0))
    assert "BillableTimeInSeconds" not in job
    assert "TrainingStartTime" not in job


def test_waiting_and_interruptions_do_not_count_as_running() -> None:
    job = walked(("Pending", 110.0), ("Training", 120.0), ("Interrupted", 125.0), ("Starting", 200.0))
    assert running_seconds(job, now=300.0) == 5.0
    assert running_seconds(advance(job, "Training", 210.0), now=215.0) == 10.0


def test_a_failure_reason_is_cut_at_1024_characters() -> None:
    job = advance(record(), "Failed", 101.0, "x" * 2000)
    assert len(job["FailureReason"]) == 1024
    assert job["SecondaryStatusTransitions"][-1]["StatusMessage"] == "Training job failed"
