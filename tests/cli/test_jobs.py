"""`jobs`, `show`, `logs`, `stop`: what DescribeTrainingJob and CloudWatch Logs say, in a user's words."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.cli.conftest import PLATFORM, Facetrain
from tests.cli.fake_aws import FakeAws, ServiceError, fields_of, table_of

RUNNING, DONE, FAILED = (
    "facetrain-dev-staff-aaaa",
    "facetrain-dev-visitors-bbbb",
    "facetrain-dev-visitors-cccc",
)
BASE = 1_790_000_000


def job(name: str, dataset: str, status: str, **more: object) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}",
        "TrainingJobStatus": status,
        "SecondaryStatus": "Training" if status == "InProgress" else status,
        "CreationTime": BASE,
        "TrainingStartTime": BASE + 60,
        "OutputDataConfig": {"S3OutputPath": f"s3://{PLATFORM.outputs_bucket}/outputs/{dataset}/"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.g6.xlarge", "VolumeSizeInGB": 100},
        "ModelArtifacts": {
            "S3ModelArtifacts": f"s3://{PLATFORM.outputs_bucket}/outputs/{dataset}/{name}/output/model.tar.gz"
        },
        **more,
    }


@pytest.fixture
def jobs(aws: FakeAws) -> dict[str, dict[str, Any]]:
    """Three jobs, newest first, and one of somebody else's."""
    found = {
        RUNNING: job(RUNNING, "staff", "InProgress"),
        DONE: job(
            DONE, "visitors", "Completed", TrainingEndTime=BASE + 3780, BillableTimeInSeconds=1200,
            EnableManagedSpotTraining=True,
            FinalMetricDataList=[{"MetricName": "validation:accuracy", "Value": 0.987654, "Timestamp": BASE}],
        ),
        FAILED: job(FAILED, "visitors", "Failed", FailureReason="AlgorithmError: no images"),
        "facetrain-development-x": job("facetrain-development-x", "x", "Completed"),
    }  # fmt: skip
    aws.handlers["SageMaker.ListTrainingJobs"] = lambda query: {
        "TrainingJobSummaries": list(listed(found, query))
    }

    def describe(query: Mapping[str, str]) -> dict[str, Any]:
        if query["TrainingJobName"] not in found:
            raise ServiceError("ValidationException", "Requested resource not found.")
        return found[query["TrainingJobName"]]

    aws.handlers["SageMaker.DescribeTrainingJob"] = describe
    return found


def listed(found: Mapping[str, dict[str, Any]], query: Mapping[str, str]) -> list[dict[str, Any]]:
    """As SageMaker lists: a name that contains the text anywhere."""
    kept = ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "CreationTime")
    return [
        {key: value for key, value in each.items() if key in kept}
        for name, each in found.items()
        if query.get("NameContains", "") in name
        and query.get("StatusEquals", each["TrainingJobStatus"]) == each["TrainingJobStatus"]
    ]


def log_of(aws: FakeAws, streams: Mapping[str, list[tuple[int, str]]], page: int = 2) -> None:
    """CloudWatch Logs with these streams, `page` events an answer."""

    def describe(query: Mapping[str, str]) -> dict[str, Any]:
        names = [name for name in sorted(streams) if name.startswith(query["logStreamNamePrefix"])]
        return {"logStreams": [{"logStreamName": name} for name in names]}

    def read(query: Mapping[str, str]) -> dict[str, Any]:
        start = int(query.get("nextToken", "f/0").removeprefix("f/"))
        events = streams[query["logStreamName"]][start : start + page]
        return {
            "events": [{"timestamp": at, "message": text, "ingestionTime": at} for at, text in events],
            "nextForwardToken": f"f/{start + len(events)}",
        }

    aws.handlers["Logs.DescribeLogStreams"] = describe
    aws.handlers["Logs.GetLogEvents"] = read


@pytest.mark.usefixtures("jobs")
def test_jobs_is_a_table_of_this_deployments_jobs(facetrain: Facetrain) -> None:
    ran = facetrain("jobs")
    heading, *rows = table_of(ran.out)
    assert heading == ["name", "status", "secondary", "started", "duration", "dataset"]
    assert [row[0] for row in rows] == [RUNNING, DONE, FAILED]
    assert rows[1] == [DONE, "Completed", "2026-09-21 14:14:20", "1 h 02 min", "visitors"]


@pytest.mark.usefixtures("jobs")
def test_jobs_as_json_is_a_list_for_a_program(facetrain: Facetrain) -> None:
    found = json.loads(facetrain("jobs", "--json", "--limit", "2").out)
    assert [(each["name"], each["dataset"]) for each in found] == [(RUNNING, "staff"), (DONE, "visitors")]
    assert found[1]["metrics"] == {"validation:accuracy": 0.987654}
    assert found[1]["seconds"] == 3720


@pytest.mark.usefixtures("jobs")
def test_jobs_can_be_narrowed_to_a_status(facetrain: Facetrain) -> None:
    assert [row[0] for row in table_of(facetrain("jobs", "--status", "Failed").out)[1:]] == [FAILED]


def test_no_jobs_says_how_to_start_one(facetrain: Facetrain, aws: FakeAws) -> None:
    aws.handlers["SageMaker.ListTrainingJobs"] = lambda query: {"TrainingJobSummaries": []}
    ran = facetrain("jobs")
    assert (ran.code, ran.out) == (0, "")
    assert "facetrain dataset push DIR NAME" in ran.err


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize("text", [DONE, "facetrain-dev-visitors-b", "visitors-b", "visitors-bbbb"])
def test_a_beginning_of_the_name_is_enough(facetrain: Facetrain, text: str) -> None:
    shown = fields_of(facetrain("show", text).out)
    assert shown["name"] == DONE
    assert shown["duration"] == "1 h 02 min, billed 20 min 00 s"
    assert shown["model"].endswith(f"/outputs/visitors/{DONE}/output/model.tar.gz")
    assert shown["validation:accuracy"] == "0.987654"


@pytest.mark.usefixtures("jobs")
def test_a_beginning_that_two_names_share_is_refused_with_both(facetrain: Facetrain) -> None:
    ran = facetrain("show", "visitors")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f'JOB: "visitors" begins the names of 2 jobs: {DONE}, {FAILED}\n'


@pytest.mark.usefixtures("jobs")
def test_a_name_that_is_also_the_beginning_of_another_is_that_job(
    facetrain: Facetrain, jobs: dict[str, dict[str, Any]]
) -> None:
    jobs[f"{DONE}-2"] = job(f"{DONE}-2", "visitors", "Completed")
    assert json.loads(facetrain("show", DONE, "--json").out)["name"] == DONE


@pytest.mark.usefixtures("jobs")
def test_an_unknown_job_is_refused(facetrain: Facetrain) -> None:
    ran = facetrain("logs", "nobody")
    assert ran.code == 2
    assert "`facetrain jobs` lists them" in ran.err


@pytest.mark.usefixtures("jobs")
def test_why_a_job_failed_is_shown(facetrain: Facetrain) -> None:
    shown = fields_of(facetrain("show", FAILED).out)
    assert shown["reason"] == "AlgorithmError: no images"
    assert "model" not in shown


@pytest.mark.usefixtures("jobs")
def test_a_running_job_has_no_model_yet(facetrain: Facetrain) -> None:
    found = json.loads(facetrain("show", RUNNING, "--json").out)
    assert found["model"] is None
    assert found["ended"] is None


@pytest.mark.usefixtures("jobs")
def test_logs_of_all_hosts_are_merged_by_time_and_whole(facetrain: Facetrain, aws: FakeAws) -> None:
    log_of(aws, {
        f"{DONE}/algo-1-1790000000": [(1, "one"), (3, "three"), (5, "five")],
        f"{DONE}/algo-2-1790000000": [(2, "two"), (4, "four")],
        f"{DONE}x/algo-1-1790000000": [(1, "somebody else's")],
    })  # fmt: skip
    ran = facetrain("logs", DONE)
    assert ran.out.splitlines() == [
        "algo-1  one",
        "algo-2  two",
        "algo-1  three",
        "algo-2  four",
        "algo-1  five",
    ]


@pytest.mark.usefixtures("jobs")
def test_logs_as_json_is_one_object_a_line(facetrain: Facetrain, aws: FakeAws) -> None:
    log_of(aws, {f"{DONE}/algo-1-1790000000": [(7, "hello")]})
    assert json.loads(facetrain("logs", DONE, "--json").out) == {
        "host": "algo-1",
        "at": 7,
        "message": "hello",
    }


@pytest.mark.usefixtures("jobs")
def test_an_account_without_any_log_group_has_an_empty_log(facetrain: Facetrain, aws: FakeAws) -> None:
    def nothing(query: object) -> dict[str, object]:
        raise ServiceError("ResourceNotFoundException", "The specified log group does not exist.")

    aws.handlers["Logs.DescribeLogStreams"] = nothing
    ran = facetrain("logs", DONE)
    assert (ran.code, ran.out) == (0, "")


def test_following_ends_with_the_job_and_loses_no_last_line(
    facetrain: Facetrain, aws: FakeAws, jobs: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facetrain.jobs.POLL_SECONDS", 0.01)
    lines = [(1, "first")]
    log_of(aws, {f"{RUNNING}/algo-1-1790000000": lines})
    describe = aws.handlers["SageMaker.DescribeTrainingJob"]

    def ends(query: dict[str, Any]) -> Mapping[str, Any]:
        if aws.requests.count("SageMaker.DescribeTrainingJob") == 3:
            lines.append((2, "last"))
            jobs[RUNNING] |= {"TrainingJobStatus": "Completed", "SecondaryStatus": "Completed"}
        return describe(query)

    aws.handlers["SageMaker.DescribeTrainingJob"] = ends
    ran = facetrain("logs", "-f", RUNNING)
    assert ran.code == 0
    assert ran.out.splitlines() == ["algo-1  first", "algo-1  last"]
    assert ran.err.splitlines() == ["-- InProgress (Training)", "-- Completed (Completed)"]


@pytest.mark.usefixtures("jobs")
def test_following_a_job_that_failed_exits_with_1_and_says_why(facetrain: Facetrain, aws: FakeAws) -> None:
    log_of(aws, {})
    ran = facetrain("logs", "-f", FAILED)
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == "AlgorithmError: no images"


def test_stop_asks_the_service_and_shows_the_new_state(
    facetrain: Facetrain, aws: FakeAws, jobs: dict[str, dict[str, Any]]
) -> None:
    def stop(query: Mapping[str, str]) -> dict[str, Any]:
        jobs[query["TrainingJobName"]]["TrainingJobStatus"] = "Stopping"
        return {}

    aws.handlers["SageMaker.StopTrainingJob"] = stop
    ran = facetrain("stop", "staff")
    assert (ran.code, ran.err) == (0, f"{RUNNING}: Stopping\n")


@pytest.mark.usefixtures("jobs")
def test_a_job_that_has_ended_cannot_be_stopped(facetrain: Facetrain) -> None:
    ran = facetrain("stop", DONE)
    assert (ran.code, ran.err) == (1, f"facetrain: {DONE} is not running: it is Completed\n")
