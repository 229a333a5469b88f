"""The command itself: quick to start, and one message for a mistake."""

import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from facetrain.cli.entry import run
from facetrain.client import explain
from tests.cli.conftest import Facetrain
from tests.cli.fake_aws import FakeAws, ServiceError

COMMANDS = (
    "demo", "submit", "dataset push", "dataset generate", "jobs", "show", "logs", "stop", "doctor",
    "local up", "local down", "local status", "local env",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(no_cloud: Facetrain, command: str) -> None:
    ran = no_cloud(*command.split(), "--help")
    assert ran.code == 0
    assert f"facetrain {command}" in ran.out


def test_help_waits_for_no_library_that_it_does_not_need() -> None:
    script = (
        "import sys; from facetrain.cli.entry import run; run(['--help']); "
        "heavy = {'boto3', 'botocore', 'torch', 'numpy', 'facetrain.local'}; "
        "print(heavy & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"


def test_an_unknown_command_is_refused_and_names_the_nearest(no_cloud: Facetrain) -> None:
    ran = no_cloud("sumbit")
    assert ran.code == 2
    assert "submit" in ran.err


def test_no_region_is_one_line_with_the_remedy(no_cloud: Facetrain) -> None:
    ran = no_cloud("jobs")
    assert (ran.code, ran.out) == (1, "")
    assert (
        ran.err == "facetrain: You must specify a region: set AWS_REGION, or `aws configure set region …`\n"
    )


def test_no_credentials_is_one_line_with_the_remedy(
    no_cloud: Facetrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    ran = no_cloud("jobs")
    assert ran.code == 1
    assert ran.err.startswith("facetrain: Unable to locate credentials: sign in (`aws sso login`")
    assert ran.err.count("\n") == 1


def test_a_profile_that_does_not_exist_is_one_line(
    no_cloud: Facetrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    ran = no_cloud("jobs")
    assert ran.code == 1
    assert "The config profile (nobody) could not be found: sign in" in ran.err


def test_an_answer_of_access_denied_names_the_operation(facetrain: Facetrain) -> None:
    ran = facetrain("jobs")
    assert ran.code == 1
    assert ran.err.startswith("facetrain: ListTrainingJobs: AccessDeniedException")
    assert ran.err.endswith("these credentials lack that permission\n")


def test_a_refusal_without_words_has_the_same_remedy() -> None:
    error = ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")
    assert explain(error) == "HeadObject: 403: Forbidden: these credentials lack that permission"


def test_a_stage_that_is_not_deployed_is_named_with_what_to_do(facetrain: Facetrain) -> None:
    ran = facetrain("jobs", "--stage", "prod")
    assert ran.code == 1
    assert 'no deployment "prod" in us-east-1' in ran.err
    assert "cdk deploy --all -c stage=prod" in ran.err


def test_the_stage_comes_from_the_environment(facetrain: Facetrain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACETRAIN_STAGE", "blue")
    assert 'no deployment "blue"' in facetrain("jobs").err


def test_a_local_cloud_that_does_not_run_is_said_with_how_to_start_it(
    no_cloud: Facetrain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACETRAIN_HOME", str(tmp_path))
    for arguments in (["jobs", "--local"], ["doctor", "--local"], ["local", "env"]):
        ran = no_cloud(*arguments)
        assert (ran.code, ran.out) == (1, "")
        assert "start it with `facetrain local up`" in ran.err


def test_the_status_of_a_cloud_that_never_was_is_stopped(
    no_cloud: Facetrain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACETRAIN_HOME", str(tmp_path))
    ran = no_cloud("local", "status")
    assert ran.code == 1
    assert "stopped, not deployed" in ran.out
    assert list(tmp_path.iterdir()) == []


def test_a_runner_that_is_not_there_is_said_with_those_that_are(
    no_cloud: Facetrain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACETRAIN_HOME", str(tmp_path))
    ran = no_cloud("local", "up", "--runner", "podman")
    assert (ran.code, ran.err.splitlines()[-1]) == (
        1,
        'facetrain: there is no runner "podman": take process or docker',
    )
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_with_130(facetrain: Facetrain, aws: FakeAws) -> None:
    def interrupted(body: object) -> dict[str, object]:
        raise ServiceError("ThrottlingException", status=400)

    aws.handlers["SageMaker.ListTrainingJobs"] = interrupted
    program = (
        "import os, signal, threading\n"
        "from facetrain.cli.entry import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # nohup and & switch it off
        "threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "main(['jobs'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error_of_ours() -> None:
    done = subprocess.run(
        f"{sys.executable} -c 'from facetrain.cli import main; main()' --help | head -1",
        shell=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_an_error_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise AttributeError("ours")

    monkeypatch.setattr("facetrain.cli.jobs.deployment", broken)
    with pytest.raises(AttributeError, match="ours"):
        run(["jobs"])
