import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from facetrain.local.errors import LocalCloudError
from facetrain.local.process import Service, kill_strays, strays

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service("sleeper", tmp_path / "sleeper.pid", tmp_path / "sleeper.log")
    yield made
    made.stop(0)


def start(service: Service, program: str = "import time; time.sleep(60)", **environment: str) -> int:
    service.start([sys.executable, "-c", program], {**os.environ, **environment}, Path("/"))
    pid = service.pid()
    assert pid is not None
    return pid


def test_a_service_outlives_its_starter_in_a_session_of_its_own(service: Service) -> None:
    pid = start(service)
    assert os.getsid(pid) != os.getsid(0)
    assert pid not in _children()


def _children() -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listed.stdout.split()]


def test_a_killed_service_is_known_to_be_dead(service: Service) -> None:
    os.kill(start(service), signal.SIGKILL)
    assert service._ends_within(5)
    assert service.pid() is None


def test_a_pid_file_whose_number_is_somebody_elses_counts_for_nothing(service: Service) -> None:
    """As after a reboot: the file is still there, and its number is of a process that is none of ours."""
    service.pid_file.write_text(f"{os.getpid()}\n")
    assert service.pid() is None
    service.stop(1)  # would end this very test run if it believed the file
    start(service)


def test_a_service_is_not_started_twice(service: Service) -> None:
    pid = start(service)
    with pytest.raises(LocalCloudError, match=f"already runs .process {pid}"):
        start(service)
    assert service.pid() == pid


def test_many_may_look_at_once(service: Service) -> None:
    pid = start(service)
    assert {service.pid() for _ in range(50)} == {pid}


def test_a_service_that_will_not_end_is_made_to(service: Service) -> None:
    start(service, STUBBORN)
    while "up" not in service.tail():
        time.sleep(0.01)
    service.stop(0.2)
    assert service.pid() is None


def test_the_log_holds_what_a_dying_service_said(service: Service) -> None:
    service.start([sys.executable, "-c", "raise SystemExit('no disk left')"], dict(os.environ), Path("/"))
    assert service._ends_within(5)
    assert service.tail() == "  no disk left"


def test_a_program_that_is_not_there_is_a_dead_service(service: Service) -> None:
    service.start(["/nowhere/program"], dict(os.environ), Path("/"))
    assert service._ends_within(5)
    assert "not found" in service.tail()


def test_strays_are_found_by_what_their_environment_begins_with(service: Service, tmp_path: Path) -> None:
    mark = f"FACETRAIN_CLOUD={tmp_path}/one/"
    pid = start(service, FACETRAIN_CLOUD=f"{tmp_path}/one/")
    assert strays([mark]) == [pid]
    assert strays([f"FACETRAIN_CLOUD={tmp_path}/on/"]) == []
    kill_strays([mark])
    assert service._ends_within(5)
