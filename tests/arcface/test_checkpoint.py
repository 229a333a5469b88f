"""Checkpoints are whole or not there, whatever happens while they are written."""

import errno
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

from training.container import checkpoint

STATE = {"weights": torch.arange(1000.0), "progress": {"step": 3}}
FILES = ("about.json", "state.pt", "sha256.json")


def silent(line: str) -> None:
    """A log that nobody reads."""


def save(folder: Path, step: int) -> Path:
    return checkpoint.save(folder, step, STATE | {"step": step}, {"step": step})


def newest_step(folder: Path, tell: Any = silent) -> int | None:
    found = checkpoint.newest(folder, tell)
    return found[1]["step"] if found else None


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    save(tmp_path, 3)
    found = checkpoint.newest(tmp_path, silent)
    assert found is not None
    path, state = found
    assert path == tmp_path / "step-000000003"
    assert torch.equal(state["weights"], torch.arange(1000.0))
    assert state["progress"] == {"step": 3}
    assert checkpoint.read_about(path) == {"step": 3}


def test_checkpoints_are_ordered_by_step(tmp_path: Path) -> None:
    for step in (1000, 5, 1_000_000_000, 10):
        save(tmp_path, step)
    assert [path.name for path in checkpoint.found(tmp_path)] == [
        "step-000000005",
        "step-000000010",
        "step-000001000",
        "step-1000000000",
    ]


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    others = ["notes", "step-000000001.uploading", ".sync", "step-last"]
    for name in others:
        (tmp_path / name).mkdir()
    save(tmp_path, 2)
    checkpoint.clean(tmp_path, silent)
    checkpoint.prune(tmp_path, [])
    assert checkpoint.newest(tmp_path, silent) is None
    assert names(tmp_path) == sorted(others)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])


@pytest.mark.parametrize("damage", [flip_a_bit, cut_short, Path.unlink])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(
    tmp_path: Path, damage: Any, file: str
) -> None:
    save(tmp_path, 1)
    damage(save(tmp_path, 2) / file)
    told: list[str] = []
    assert newest_step(tmp_path, told.append) == 1
    assert len(told) == 1
    assert "step-000000002" in told[0]


def test_where_all_are_damaged_there_is_none(tmp_path: Path) -> None:
    flip_a_bit(save(tmp_path, 1) / "state.pt")
    assert newest_step(tmp_path) is None


def test_half_a_checkpoint_is_told_and_removed_at_the_next_start(tmp_path: Path) -> None:
    save(tmp_path, 1)
    aside = tmp_path / ".step-000000002"
    aside.mkdir()
    (aside / "state.pt").write_bytes(b"half")
    told: list[str] = []
    checkpoint.clean(tmp_path, told.append)
    assert names(tmp_path) == ["step-000000001"]
    assert told == ["checkpoint step-000000002 was cut off while it was written: removed"]


def test_a_checkpoint_that_only_lacks_its_name_gets_it(tmp_path: Path) -> None:
    save(tmp_path, 2).rename(tmp_path / ".step-000000002")
    checkpoint.clean(tmp_path, silent)
    assert newest_step(tmp_path) == 2


@pytest.mark.parametrize("renames", [1, 2])
def test_replacing_a_checkpoint_may_be_cut_off_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """As by a SIGKILL before the first rename, and before the second."""
    save(tmp_path, 1)
    rename, left = Path.rename, [renames]

    def cut_off(self: Path, target: Path) -> Path:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", cut_off)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 1)
    monkeypatch.undo()
    checkpoint.clean(tmp_path, silent)
    assert names(tmp_path) == ["step-000000001"]
    assert newest_step(tmp_path) == 1


def test_a_disk_that_fills_up_leaves_the_older_checkpoint_and_no_litter(tmp_path: Path) -> None:
    save(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # no file may grow beyond it
    try:
        with pytest.raises(OSError, match=r"step 2 could not be written with \d+ MiB left"):
            checkpoint.save(tmp_path, 2, {"weights": torch.zeros(50_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == ["step-000000001"]


def test_a_disk_that_does_not_keep_what_it_took_leaves_the_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    save(tmp_path, 1)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"step 2 could not be written .*No space left"):
        save(tmp_path, 2)
    assert names(tmp_path) == ["step-000000001"]


def test_a_checkpoint_runs_no_code_when_it_is_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    checkpoint.save(tmp_path, 1, {"trap": Trap()}, {})
    told: list[str] = []
    assert newest_step(tmp_path, told.append) is None
    assert not (tmp_path / "sprung").exists()
    assert "step-000000001" in told[0]


def test_what_is_set_aside_is_kept_but_read_no_more(tmp_path: Path) -> None:
    for number in (1, 2):
        save(tmp_path, 5)
        save(tmp_path / checkpoint.BEST, 4)
        assert checkpoint.set_aside(tmp_path) == tmp_path / f"set-aside-{number}"
        assert newest_step(tmp_path) is None
        assert newest_step(tmp_path / f"set-aside-{number}") == 5
    assert checkpoint.set_aside(tmp_path) is None
