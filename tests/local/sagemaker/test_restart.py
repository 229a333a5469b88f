"""The end of the endpoint, told or sudden, and what the next start makes of its jobs."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facetrain.local import ports, services
from facetrain.local.services import Servers
from tests.local.sagemaker.conftest import BUCKET, IMAGE, PROGRAM, Place, alive, states

SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 600},
}
# Counts its starts in its checkpoint folder; the second one ends well.
COUNT = """
counter = base / "checkpoints/starts"
starts = int(counter.read_text()) + 1 if counter.exists() else 1
counter.write_text(str(starts))
while starts < 2:
    time.sleep(0.1)
"""


def copy_tls(place: Place, servers: Servers) -> None:
    for file in place.servers.tls.authority.parent.iterdir():
        (servers.home.tls / file.name).write_bytes(file.read_bytes())


@pytest.fixture
def other(place: Place, tmp_path: Path) -> Iterator[Place]:
    """A second endpoint of its own beside the same MiniStack, to be killed."""
    home = replace(place.servers.home, root=tmp_path)
    home.create()
    servers = replace(place.servers, home=home, sagemaker_port=ports.choose(1, [])[0])
    copy_tls(place, servers)
    one = Place(servers, ["--shutdown-grace", "1"], roles=place.roles)
    one.start()
    try:
        yield one
    finally:
        if one.process is not None and one.process.poll() is None:
            one.stop()


def pid_of(place: Place, name: str) -> int:
    """The process of a job started with `PID`."""
    file = place.state / "jobs" / name / "algo-1/opt/ml/pid"
    deadline = time.monotonic() + 10
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(file.read_text())


PID = "(base / 'pid').write_text(str(os.getpid()))\n"


def gone(pid: int, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def kill(place: Place) -> None:
    assert place.process is not None
    place.process.send_signal(signal.SIGKILL)
    place.process.wait()


def in_s3(place: Place, key: str) -> None:
    deadline = time.monotonic() + 10
    while key not in place.objects(""):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def checkpoints(name: str) -> dict[str, Any]:
    return {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/{name}/"}}


def test_a_killed_endpoint_takes_its_jobs_along_and_shows_an_internal_error(other: Place) -> None:
    done = other.run(TrainingJobName="finished")
    name = other.training(PID + "time.sleep(60)")
    pid = pid_of(other, name)
    kill(other)
    assert gone(pid)
    other.start()
    record = other.wait(name)
    assert record["TrainingJobStatus"] == "Failed"
    assert record["FailureReason"].startswith("InternalServerError: We encountered an internal error.")
    again = other.client("sagemaker").describe_training_job(TrainingJobName="finished")
    assert {**again, "ResponseMetadata": {}} == {**done, "ResponseMetadata": {}}
    assert not (other.state / "jobs" / name / "algo-1/opt").exists()


def test_a_spot_job_is_interrupted_and_resumes_from_its_checkpoint(other: Place) -> None:
    name = other.training(COUNT, **SPOT, **checkpoints("spot"))
    in_s3(other, "spot/starts")
    kill(other)
    other.start()
    record = other.wait(name)
    assert record["TrainingJobStatus"] == "Completed"
    assert states(record)[2:5] == ["Training", "Interrupted", "Starting"]
    assert other.body("spot/starts") == b"2"


def test_a_job_with_a_retry_strategy_is_started_again(other: Place) -> None:
    name = other.training(COUNT, RetryStrategy={"MaximumRetryAttempts": 1}, **checkpoints("retry"))
    in_s3(other, "retry/starts")
    kill(other)
    other.start()
    record = other.wait(name)
    assert record["TrainingJobStatus"] == "Completed"
    assert "Restarting" in states(record)


def test_an_endpoint_told_to_stop_gives_its_jobs_time_and_leaves_none_running(other: Place) -> None:
    trap = "signal.signal(signal.SIGTERM, lambda *_: ((base / 'checkpoints/last').touch(), sys.exit(0)))\n"
    polite = other.training(trap + PID + "time.sleep(60)", **SPOT, **checkpoints("told"))
    stubborn = other.training("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PID + "time.sleep(60)")
    pids = [pid_of(other, name) for name in (polite, stubborn)]
    assert other.stop() == 0
    assert not any(alive(pid) for pid in pids)
    assert "told/last" in other.objects("")


def test_a_second_endpoint_of_the_same_folder_is_refused(other: Place) -> None:
    assert usage_error(other).endswith(f"another endpoint uses {other.state}")


def test_a_taken_port_is_told(other: Place, tmp_path: Path) -> None:
    free = replace(other.servers, home=replace(other.servers.home, root=tmp_path / "free"))
    free.home.create()
    copy_tls(other, free)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = usage_error(Place(replace(free, sagemaker_port=port)))
    assert message == f"facetrain.local.sagemaker: cannot listen on 127.0.0.1:{port}: Address already in use"


def usage_error(place: Place) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "facetrain.local.sagemaker"),
            *services.sagemaker_flags(place.servers, {IMAGE: PROGRAM}),
        ],
        env=services.sagemaker_environment(place.servers),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr.strip()
