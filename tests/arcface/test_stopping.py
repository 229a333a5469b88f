"""SIGTERM: where there is nothing to save yet it ends the job at once, later only after a checkpoint."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.arcface import processes
from tests.arcface.examples import write_job, write_pictures
from tests.arcface.test_distributed import start_hosts
from tests.arcface.test_train import SMALL
from training.arcface import trainer
from training.container.errors import StoppedEarlyError
from training.container.main import main
from training.container.stopping import Stop
from training.jobs import contract

STOPPED = (contract.EXIT_STOPPED, -signal.SIGTERM)  # the second, where the process did not listen yet


@pytest.fixture(autouse=True)
def handler_of_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def stop_me() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_with_nothing_to_save_it_interrupts_whatever_is_done() -> None:
    Stop().listen()
    with pytest.raises(StoppedEarlyError):
        stop_me()


def test_with_something_to_save_it_is_only_noted() -> None:
    stop = Stop().wait().listen()
    stop_me()
    assert stop.requested


def test_a_job_stopped_while_it_reads_its_channels_ends_at_once_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_job(tmp_path / "job", SMALL)
    write_pictures(paths.channel("images"), 2, 2)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))

    def load_data(*_: Any, scratch: Path | None = None, **__: Any) -> None:
        stop_me()

    monkeypatch.setattr(trainer, "load_data", load_data)
    assert main(["train"], {contract.BASE_DIR_VARIABLE: str(paths.base)}) == contract.EXIT_STOPPED
    assert capsys.readouterr().err.endswith("stopped before training began\n")
    assert not paths.failure.exists()
    assert not list((tmp_path / "scratch").iterdir())


def test_what_a_stop_makes_of_other_libraries_is_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler wraps whatever is raised within it into an error of its own."""
    write_pictures(write_job(tmp_path, SMALL).channel("images"), 2, 2)

    def load_data(*_: Any, **__: Any) -> None:
        try:
            stop_me()
        except StoppedEarlyError as error:
            raise RuntimeError("backend 'inductor' failed") from error

    monkeypatch.setattr(trainer, "load_data", load_data)
    assert main(["train"], {contract.BASE_DIR_VARIABLE: str(tmp_path)}) == contract.EXIT_STOPPED


def test_hosts_that_are_stopped_while_they_meet_or_read_have_not_failed(tmp_path: Path) -> None:
    hosts = start_hosts(tmp_path, SMALL, writes=False)
    for base, process in hosts:
        processes.wait_for(base / "log", "hardware ", 1, process)
        os.kill(process.pid or 0, signal.SIGTERM)
    for base, process in hosts:
        process.join(60)
        assert process.exitcode in STOPPED, (base / "log").read_text()
        assert not (base / "output" / "failure").exists()


def test_a_host_that_waits_for_another_in_vain_can_be_stopped(tmp_path: Path) -> None:
    (base, process), (_, other) = start_hosts(tmp_path, SMALL, writes=False)
    other.kill()
    processes.wait_for(base / "log", "hardware ", 1, process)
    process.join(0.5)  # so that it waits
    os.kill(process.pid or 0, signal.SIGTERM)
    process.join(20)
    assert process.exitcode in STOPPED, (base / "log").read_text()
