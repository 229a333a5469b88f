"""Checkpoints are whole or not there, and a run that is cut anywhere ends like one that was not."""

import errno
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.arcface.examples import TinyNetwork, dataset
from training.arcface import checkpoint
from training.arcface.distributed import World
from training.arcface.errors import StoppedError
from training.arcface.learner import Learner
from training.arcface.loop import Loop, Plan, Progress
from training.arcface.settings import Settings
from training.arcface.stopping import Stop

STATE = {"weights": torch.arange(1000.0), "progress": {"step": 3}}


def silent(line: str) -> None:
    """A log that nobody reads."""


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 3, STATE)
    found = checkpoint.newest(tmp_path, silent)
    assert found is not None
    assert torch.equal(found["weights"], STATE["weights"])  # type: ignore[arg-type]
    assert found["progress"] == {"step": 3}


def test_two_are_kept_the_newest(tmp_path: Path) -> None:
    for step in (5, 10, 999, 1000):
        checkpoint.save(tmp_path, step, STATE)
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-000000999", "step-000001000"]
    assert len(list(tmp_path.iterdir())) == 2


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [flip_a_bit, cut_short, Path.unlink])
@pytest.mark.parametrize("file", ["state.pt", "sha256.json"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(
    tmp_path: Path, damage: Any, file: str
) -> None:
    checkpoint.save(tmp_path, 1, STATE | {"progress": {"step": 1}})
    damage(checkpoint.save(tmp_path, 2, STATE) / file)
    told: list[str] = []
    found = checkpoint.newest(tmp_path, told.append)
    assert found is not None
    assert found["progress"] == {"step": 1}
    assert len(told) == 1
    assert "step-000000002" in told[0]


def test_where_all_are_damaged_there_is_none(tmp_path: Path) -> None:
    flip_a_bit(checkpoint.save(tmp_path, 1, STATE) / "state.pt")
    assert checkpoint.newest(tmp_path, silent) is None


def test_half_a_checkpoint_is_not_taken_for_one(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, STATE)
    (tmp_path / ".step-000000002").mkdir()
    (tmp_path / ".step-000000002" / "state.pt").write_bytes(b"half")
    assert [path.name for path in checkpoint.found(tmp_path)] == ["step-000000001"]
    checkpoint.save(tmp_path, 2, STATE)
    assert checkpoint.newest(tmp_path, silent) is not None


def test_a_full_disk_leaves_the_older_checkpoint_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoint.save(tmp_path, 1, STATE)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"step 2 could not be written .*No space left"):
        checkpoint.save(tmp_path, 2, STATE)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


def test_a_checkpoint_runs_no_code_when_it_is_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    checkpoint.save(tmp_path, 1, {"trap": Trap()})
    told: list[str] = []
    assert checkpoint.newest(tmp_path, told.append) is None
    assert not (tmp_path / "sprung").exists()
    assert "step-000000001" in told[0]


# -- Interrupted and resumed -------------------------------------------------------------------------------

DATA = dataset(4, 5)
SETTINGS = Settings(network="tiny", epochs=3, batch_size=6, lr=0.1, log_interval=2, warmup_epochs=0.5)


class StoppingLearner(Learner):
    """Asks for a stop in the middle of its `after`-th step, as a signal would."""

    stop: Stop
    after: int | None

    def step(self, *arguments: Any) -> Any:
        if self.after is not None:
            self.after -= 1
            self.stop.requested = self.after <= 0
        return super().step(*arguments)


def run_part(folder: Path, stop_after: int | None) -> tuple[Learner, Progress]:
    """From the newest checkpoint to the end, or to the step after which a stop is asked for."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        backbone = TinyNetwork()
    plan, progress, stop = Plan.make(len(DATA.listing), SETTINGS, World()), Progress(), Stop()
    learner = StoppingLearner(backbone, 4, SETTINGS, World(), compiled=False)
    learner.stop, learner.after = stop, stop_after
    if state := checkpoint.newest(folder, silent):
        learner.load_state(state["learner"])
        learner.load_rows(state["rows"])
        progress = Progress(**state["progress"])

    def save(now: Progress) -> None:
        checkpoint.save(
            folder, now.step, {"learner": learner.state(), "rows": learner.rows(), "progress": now.as_dict()}
        )

    loop = Loop(learner, DATA, plan, progress, stop=stop, save=save, verify=lambda: {"eer": 0.0}, log=silent)
    with suppress(StoppedError):
        loop.run()
    return learner, progress


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Learner, Progress]:
    return run_part(tmp_path_factory.mktemp("undisturbed"), None)


@hypothesis_settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stops=st.lists(st.integers(1, 8), max_size=4))
def test_a_run_interrupted_anywhere_ends_bit_for_bit_like_an_undisturbed_one(
    stops: list[int], undisturbed: tuple[Learner, Progress], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    for after in stops:
        run_part(folder, after)
    learner, progress = run_part(folder, None)
    expected, expected_progress = undisturbed
    assert progress == expected_progress
    mine, theirs = learner.state(), expected.state()
    for name, rows in expected.rows().items():
        assert torch.equal(learner.rows()[name], rows), name
    for part in ("backbone", "optimizer"):
        assert mine[part].keys() == theirs[part].keys()
    for key, value in theirs["backbone"].items():
        assert torch.equal(mine["backbone"][key], value), key
    for name, moments in theirs["optimizer"].items():
        for key, value in moments.items():
            assert torch.equal(mine["optimizer"][name][key], value), name


def test_the_undisturbed_run_did_learn_something(undisturbed: tuple[Learner, Progress]) -> None:
    """Else equality of weights would show little."""
    _, progress = undisturbed
    assert progress.step == 9
    assert [row["epoch"] for row in progress.epochs] == [1, 2, 3]
    assert progress.epochs[-1]["loss"] < progress.epochs[0]["loss"]
    assert [row["step"] for row in progress.verifications] == [0, 3, 6, 9]
