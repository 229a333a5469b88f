"""What a job leaves is whole or not there, and what will not fit is told before training."""

import errno
from pathlib import Path
from typing import Any

import pytest

from tests.arcface.test_learner import learner_of
from training.arcface import outputs
from training.container import room
from training.container.errors import TrainingError


def free(monkeypatch: pytest.MonkeyPatch, mebibytes: int) -> None:
    usage = type("usage", (), {"free": mebibytes * 2**20})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)


def test_a_model_that_will_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs.refuse_if_full(tmp_path, learner_of())
    free(monkeypatch, 0)
    with pytest.raises(
        TrainingError, match=rf"^{tmp_path}: the model takes \d+ MiB, and 0 are free: free some"
    ):
        outputs.refuse_if_full(tmp_path, learner_of())


def test_of_a_model_that_was_not_written_whole_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "somebody's").touch()
    free(monkeypatch, 3)

    def write() -> None:
        with room.whole(tmp_path, needed=4 * 2**20):
            (tmp_path / "backbone.pth").touch()
            raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")

    with pytest.raises(TrainingError, match=r"takes 4 MiB, and 3 are free: .* the last checkpoint holds"):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["somebody's"]


def test_an_error_that_is_not_the_disks_stays_what_it_is(tmp_path: Path) -> None:
    def write() -> None:
        with room.whole(tmp_path, needed=1):
            (tmp_path / "backbone.pth").touch()
            raise RuntimeError("ONNX differs from PyTorch")

    with pytest.raises(RuntimeError, match="ONNX differs"):
        write()
    assert not list(tmp_path.iterdir())


def test_a_report_that_cannot_be_written_is_told_and_fails_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("training.arcface.report.write_page", full)
    log: list[str] = []
    outputs.write_report(tmp_path, None, (), log.append)  # type: ignore[arg-type]  # no facts are looked at
    assert log == [f"report.html not written: {tmp_path}: No space left on device"]
