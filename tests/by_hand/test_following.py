"""From the start to the end of a job: what is said, what is printed, and the exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.by_hand.conftest import ORDER, Account, TrainingJob
from tests.cli.fake_aws import fields_of

SCRIPT = Path(__file__).parents[2] / "training_job.py"


def log_of(account: Account, *lines: str) -> None:
    """Every job's only stream holds these lines."""
    (name,) = account.jobs
    stream = {"logStreamName": f"{name}/algo-1-1"}
    account.aws.handlers["Logs.DescribeLogStreams"] = lambda body: {"logStreams": [stream]}
    events = [{"timestamp": at, "message": line} for at, line in enumerate(lines)]
    account.aws.handlers["Logs.GetLogEvents"] = lambda body: {
        "events": [] if "nextToken" in body else events,
        "nextForwardToken": "end",
    }


def test_a_completed_job_ends_with_its_model(training_job: TrainingJob, account: Account) -> None:
    account.states = [{"TrainingJobStatus": "InProgress"}, {"TrainingJobStatus": "Completed"}]
    ran = training_job(*ORDER)
    (name,) = account.jobs
    assert ran.code == 0, ran.err
    assert fields_of(ran.out) == {
        "job": name,
        "status": "Completed",
        "model": f"s3://team/face-inputs/results/{name}/output/model.tar.gz",
    }
    assert [line for line in ran.err.splitlines() if line.startswith("The job")] == [
        "The job: InProgress",
        "The job: Completed",
    ]


def test_log_lines_are_told_as_they_come(
    training_job: TrainingJob, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facetrain.by_hand import start  # noqa: PLC0415

    begin = start.start

    def begin_and_log(*arguments: object) -> str:
        arn = begin(*arguments)  # type: ignore[arg-type]
        log_of(account, "epoch=1 loss=3.5", "epoch=2 loss=2.5")
        return arn

    monkeypatch.setattr(start, "start", begin_and_log)
    ran = training_job(*ORDER)
    assert ran.err.index("  epoch=1 loss=3.5\n") < ran.err.index("  epoch=2 loss=2.5\n")
    assert "epoch" not in ran.out


def test_a_failed_job_ends_with_its_reason_and_1(training_job: TrainingJob, account: Account) -> None:
    account.states = [{"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: out of memory"}]
    ran = training_job(*ORDER)
    assert ran.code == 1
    shown = fields_of(ran.out)
    assert shown["status"] == "Failed"
    assert shown["reason"] == "AlgorithmError: out of memory"
    assert "model" not in shown


def test_json_tells_the_end_as_data(training_job: TrainingJob, account: Account) -> None:
    account.states[0]["FinalMetricDataList"] = [{"MetricName": "train:loss", "Value": 2.5, "Timestamp": 1.0}]
    told = json.loads(training_job(*ORDER, "--json").out)
    assert told["status"] == "Completed"
    assert told["metrics"] == {"train:loss": 2.5}


def test_nobody_waits_where_nobody_is_to_wait(training_job: TrainingJob, account: Account) -> None:
    account.states = [{"TrainingJobStatus": "InProgress"}]
    ran = training_job(*ORDER, "--no-wait", "--json")
    (name,) = account.jobs
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == {
        "job": name,
        "status": "InProgress",
        "model": f"s3://team/face-inputs/results/{name}/output/model.tar.gz",
    }


def test_an_interrupt_ends_the_following_and_not_the_job(
    training_job: TrainingJob, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("facetrain.jobs.LogReader.new_lines", interrupt)
    ran = training_job(*ORDER)
    (name,) = account.jobs
    assert ran.code == 130
    assert f"`aws sagemaker stop-training-job --training-job-name {name}` stops it" in ran.err
    assert "SageMaker.StopTrainingJob" not in account.aws.requests


def test_a_log_that_may_not_be_read_leaves_the_job_going(training_job: TrainingJob, account: Account) -> None:
    del account.aws.handlers["Logs.DescribeLogStreams"]
    ran = training_job(*ORDER)
    assert ran.code == 1
    assert (
        "these credentials lack that permission; the job goes on: `aws sagemaker stop-training-job" in ran.err
    )


def said_by(*arguments: str) -> str:
    """What a bare Python says that is made to run the script."""
    ran = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stdout == ""
    return ran.stderr


REMEDY = "run `make setup`, then `.venv/bin/python training_job.py …`\n"


def test_without_this_projects_packages_the_script_says_how_to_get_them() -> None:
    assert said_by("-S", str(SCRIPT)) == f"training_job.py: typer is not installed: {REMEDY}"


def test_an_older_python_is_told_so() -> None:
    older = f"import runpy, sys; sys.version_info = (3, 9); runpy.run_path({str(SCRIPT)!r})"
    assert said_by("-c", older).startswith("training_job.py: needs Python 3.11 or newer, this is ")


def test_help_waits_for_no_library_that_it_does_not_need() -> None:
    script = (
        "import sys; from facetrain.by_hand.command import NAME, app; "
        "from facetrain.cli.entry import conduct; conduct(app, ['--help'], NAME); "
        "print({'boto3', 'sagemaker'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"
    assert "--instance-type" in done.stdout
