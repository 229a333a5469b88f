"""What a run saves beside its training, when it may go on, and what becomes of a save that fails."""

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.arcface.examples import TinyNetwork
from tests.arcface.test_checkpoint import flip_a_bit
from tests.arcface.test_resume import DATA, SETTINGS, assert_equal_states, silent
from training.arcface import saving
from training.arcface.distributed import World
from training.arcface.learner import Learner
from training.arcface.plan import Plan
from training.arcface.progress import Progress
from training.arcface.saving import Saver, fingerprint, prepare, rng_state, set_rng
from training.arcface.settings import Settings
from training.container import checkpoint
from training.container.errors import TrainingError
from training.container.writing import Writer

MARKS = fingerprint(SETTINGS, DATA.listing)


@contextmanager
def saver(folder: Path, log: list[str] | None = None, settings: Settings = SETTINGS) -> Iterator[Saver]:
    told = log.append if log is not None else silent
    plan = Plan.make(len(DATA.listing), settings, World())
    with torch.random.fork_rng():
        torch.manual_seed(1)
        learner = Learner(TinyNetwork(), 4, settings, World(), compiled=False)
    prepare(folder, fingerprint(settings, DATA.listing), World(), told, resume=True)
    with Saver(folder, learner, plan, MARKS, told) as made:
        yield made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_two_checkpoints_are_kept_the_newest(tmp_path: Path) -> None:
    with saver(tmp_path) as one:
        for step in (5, 10, 999, 1000):
            one.save(Progress(step=step))
    assert names(tmp_path) == ["step-000000999", "step-000001000"]


def test_a_damaged_checkpoint_does_not_count_as_kept(tmp_path: Path) -> None:
    """Else the next save would remove the whole one, or be removed itself."""
    with saver(tmp_path) as one:
        one.save(Progress(step=1))
        one.save(Progress(step=9))
    flip_a_bit(tmp_path / "step-000000009" / "state.pt")
    with saver(tmp_path) as one:
        assert one.resume().step == 1
        one.save(Progress(step=4))
    assert names(tmp_path) == ["step-000000001", "step-000000004"]


def test_what_the_service_brings_back_of_the_past_is_removed(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        checkpoint.save(tmp_path, step, {}, {})
    with saver(tmp_path / "own") as one:
        one.save(Progress(step=5))
    (tmp_path / "own" / "step-000000005").rename(tmp_path / "step-000000005")
    (tmp_path / "own").rmdir()
    with saver(tmp_path) as one:
        assert one.resume().step == 5
    assert names(tmp_path) == ["step-000000004", "step-000000005"]


def test_the_same_progress_is_not_written_twice(tmp_path: Path) -> None:
    log: list[str] = []
    with saver(tmp_path) as one:
        one.save(Progress(step=3))
    with saver(tmp_path, log) as one:
        one.save(one.resume())
    assert not [line for line in log if line.startswith("checkpoint")]


def test_a_checkpoint_says_of_what_it_is_one(tmp_path: Path) -> None:
    with saver(tmp_path) as one:
        one.save(Progress(step=3, epochs=[{"epoch": 1, "loss": 2.5, "lr": 0.1}]))
    about = checkpoint.read_about(tmp_path / "step-000000003")
    assert (about["step"], about["steps"], about["batch"], about["ranks"], about["loss"]) == (3, 9, 6, 1, 2.5)


# -- When a run may go on ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"network": "r18"}, "network"), ({"seed": 1}, "seed"), ({"optimizer": "adamw"}, "optimizer")],
)
def test_a_checkpoint_that_would_not_fit_is_refused(tmp_path: Path, changed: Any, named: str) -> None:
    with saver(tmp_path) as one:
        one.save(Progress(step=3))
    marks = fingerprint(replace(SETTINGS, **changed), DATA.listing)
    with pytest.raises(TrainingError, match=f"another run: {named} changed since: .* --resume never"):
        prepare(tmp_path, marks, World(), silent, resume=True)


def test_a_checkpoint_of_other_images_is_refused(tmp_path: Path) -> None:
    with saver(tmp_path) as one:
        one.save(Progress(step=3))
    marks = fingerprint(SETTINGS, DATA.of_identities(np.arange(4) < 3).listing)
    with pytest.raises(TrainingError, match="images or their identities changed since"):
        prepare(tmp_path, marks, World(), silent, resume=True)


def test_a_checkpoint_of_a_later_trainer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with saver(tmp_path) as one:
        one.save(Progress(step=3))
    monkeypatch.setattr(saving, "FORMAT", 0)
    with pytest.raises(TrainingError, match="the trainer's version changed since"):
        prepare(tmp_path, MARKS, World(), silent, resume=True)


def test_told_never_to_resume_a_run_begins_anew_and_says_where_the_old_one_is(tmp_path: Path) -> None:
    with saver(tmp_path) as one:
        one.save(Progress(step=3))
    told: list[str] = []
    assert prepare(tmp_path, MARKS, World(), told.append, resume=False) is None
    assert told == [f"resume=never: the checkpoints found were moved to {tmp_path / 'set-aside-1'}"]
    with saver(tmp_path) as one:
        assert one.resume().step == 0
    assert checkpoint.newest(tmp_path / "set-aside-1", silent) is not None


# -- Writing aside from training ---------------------------------------------------------------------------


def test_what_is_saved_is_the_state_of_that_moment(tmp_path: Path) -> None:
    with saver(tmp_path) as one:
        one.resume()
        before = one.learner.state()
        one.save(Progress(step=3))
        with torch.no_grad():
            for weight in (*one.learner.backbone.parameters(), *one.learner.rows().values()):
                weight.add_(1)
    found = checkpoint.newest(tmp_path, silent)
    assert found is not None
    assert_equal_states(found[1]["learner"], before)
    assert torch.equal(found[1]["head"]["centres"] + 1, one.learner.rows()["centres"])


def test_training_does_not_wait_for_a_checkpoint_but_the_next_one_does() -> None:
    told: list[str] = []
    writer, may_end = Writer(told.append), threading.Event()
    writer.start("first", may_end.wait)  # returns though nothing is written yet
    told.append("training")
    second = threading.Thread(target=writer.start, args=("second", lambda: None))
    second.start()
    second.join(0.05)
    assert second.is_alive()
    may_end.set()
    second.join(30)
    writer.wait()
    assert told == ["training", "first", "second"]


def test_a_full_disk_is_told_and_the_next_checkpoint_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    log: list[str] = []
    with saver(tmp_path, log) as one:
        with monkeypatch.context() as patch:
            patch.setattr(torch, "save", full)
            one.save(Progress(step=1))
            one.writer.wait()
        one.save(Progress(step=2))
    assert log[0].startswith("checkpoint step=1 failed: ")
    assert "No space left on device" in log[0]
    assert "training goes on" in log[0]
    assert log[1:] == ["checkpoint step=2"]
    assert names(tmp_path) == ["step-000000002"]


def test_a_fault_in_the_writing_thread_is_told_with_its_place() -> None:
    told: list[str] = []
    writer, nothing_there = Writer(told.append), dict[str, str]()
    writer.start("checkpoint step=1", lambda: nothing_there.pop("nothing"))
    writer.wait()
    assert "test_saving.py" in told[0]
    assert told[1].startswith("checkpoint step=1 failed, please report it with the log: KeyError: 'nothing'")


# -- The best ----------------------------------------------------------------------------------------------


def best_at(step: int) -> Progress:
    return Progress(step=step, best={"step": step, "metric": "accuracy", "value": step / 10})


def test_the_best_weights_come_back_with_the_centres_of_that_moment(tmp_path: Path) -> None:
    with saver(tmp_path) as one:
        one.keep_best(best_at(2))
        weights, centres = one.learner.evaluated(), one.learner.rows()["centres"].clone()
        with torch.no_grad():
            for weight in (*one.learner.backbone.parameters(), *one.learner.rows().values()):
                weight.add_(1)
        assert one.load_best(best_at(2))
        assert_equal_states(dict(one.learner.backbone.state_dict()), weights)
        assert torch.equal(one.learner.rows()["centres"], centres)


def test_the_best_stays_for_as_long_as_a_kept_checkpoint_counts_with_it(tmp_path: Path) -> None:
    with saver(tmp_path) as one:
        for step, best in ((1, 1), (2, 1), (3, 3), (4, 3)):
            if step == best:
                one.keep_best(best_at(best))
            one.save(replace(best_at(best), step=step))
            one.writer.wait()
            kept = {1: [1], 2: [1], 3: [1, 3], 4: [3]}[step]
            assert names(tmp_path / checkpoint.BEST) == [checkpoint.name_of(name) for name in kept]


def test_where_the_best_is_damaged_the_last_weights_stay_and_it_is_told(tmp_path: Path) -> None:
    log: list[str] = []
    with saver(tmp_path, log) as one:
        one.keep_best(best_at(2))
        one.writer.wait()
        flip_a_bit(tmp_path / checkpoint.BEST / checkpoint.name_of(2) / "state.pt")
        assert not one.load_best(best_at(2))
    assert log[-1].startswith("best weights damaged, the last are used instead: step-000000002: ")


# -- Going back --------------------------------------------------------------------------------------------


def test_a_run_goes_back_to_its_newest_checkpoint(tmp_path: Path) -> None:
    with saver(tmp_path) as one:
        one.resume()
        before = one.learner.state()
        one.save(Progress(step=3))
        with torch.no_grad():
            next(one.learner.backbone.parameters()).fill_(torch.nan)
        assert one.reload().step == 3
        assert_equal_states(one.learner.state(), before)


def test_without_a_checkpoint_there_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    with saver(tmp_path) as one, pytest.raises(TrainingError, match="no whole checkpoint to go back to"):
        one.reload()


# -- Random numbers ----------------------------------------------------------------------------------------


def drawn(states: Any, world: World, step: int) -> list[float]:
    with torch.random.fork_rng():
        set_rng(states, world, 3, step)
        return torch.rand(3).tolist()


def test_as_many_ranks_draw_on_where_they_were() -> None:
    with torch.random.fork_rng():
        states = [rng_state(World())]
        expected = torch.rand(3).tolist()
    assert drawn(states, World(), 5) == expected


def test_another_number_of_ranks_draws_by_seed_step_and_rank() -> None:
    states = [rng_state(World())]
    first, second = World(0, 2), World(1, 2)
    assert drawn(states, first, 5) == drawn([], first, 5)
    assert drawn(states, first, 5) != drawn(states, second, 5)
    assert drawn(states, first, 5) != drawn(states, first, 6)
