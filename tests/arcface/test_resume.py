"""A run that is cut anywhere ends like one that was not."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.arcface.examples import TinyNetwork, dataset
from training.arcface import loop
from training.arcface.distributed import World
from training.arcface.learner import Learner
from training.arcface.loop import Loop, Plan, Progress
from training.arcface.saving import Saver, fingerprint, prepare
from training.arcface.settings import Settings
from training.container.errors import StoppedError
from training.container.stopping import Stop

DATA = dataset(4, 5)
SETTINGS = Settings(network="tiny", epochs=3, batch_size=6, lr=0.1, log_interval=2, warmup_epochs=0.5)


def silent(line: str) -> None:
    """A log that nobody reads."""


class StoppingLearner(Learner):
    """Asks for a stop in the middle of its `after`-th step, as a signal would."""

    stop: Stop
    after: int | None

    def step(self, *arguments: Any, **named: Any) -> Any:
        if self.after is not None:
            self.after -= 1
            self.stop.requested = self.after <= 0
        return super().step(*arguments, **named)


def run_part(
    folder: Path, stop_after: int | None, settings: Settings = SETTINGS, world: World | None = None
) -> tuple[Learner, Progress]:
    """From the newest checkpoint to the end, or to the step after which a stop is asked for."""
    world = world or World()
    marks = fingerprint(settings, DATA.listing)
    batch = prepare(folder, marks, world, silent, resume=True)
    plan = Plan.make(len(DATA.listing), settings, world, batch=batch)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        backbone = TinyNetwork()
    learner = StoppingLearner(backbone, 4, settings, world, compiled=False)
    learner.stop, learner.after = Stop(), stop_after
    with suppress(StoppedError), Saver(folder, learner, plan, marks, silent) as saver:
        progress = saver.resume()
        Loop(
            learner,
            DATA,
            plan,
            progress,
            stop=learner.stop,
            save=saver.save,
            verify=lambda: {"eer": 0.0},
            log=silent,
        ).run()
    return learner, progress


def assert_equal_states(mine: Any, theirs: Any, place: str = "state") -> None:
    """Bit for bit, however deep they are nested."""
    if isinstance(theirs, torch.Tensor):
        assert torch.equal(mine, theirs), place
    elif isinstance(theirs, dict):
        assert mine.keys() == theirs.keys(), place
        for key, value in theirs.items():
            assert_equal_states(mine[key], value, f"{place}.{key}")
    elif isinstance(theirs, list):
        assert_equal_states(dict(enumerate(mine)), dict(enumerate(theirs)), place)
    else:
        assert mine == theirs, place


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
    assert untimed(progress) == untimed(expected_progress)
    assert_equal_states(learner.state(), expected.state())
    assert_equal_states(learner.rows(), expected.rows())


def untimed(progress: Progress) -> dict[str, Any]:
    """Without what depends on the machine's speed."""
    return {name: value for name, value in progress.as_dict().items() if name != "curve"}


def test_the_undisturbed_run_did_learn_something(undisturbed: tuple[Learner, Progress]) -> None:
    """Else equality of weights would show little."""
    _, progress = undisturbed
    assert progress.step == 9
    assert [row["epoch"] for row in progress.epochs] == [1, 2, 3]
    assert progress.epochs[-1]["loss"] < progress.epochs[0]["loss"]
    assert [row["step"] for row in progress.verifications] == [0, 3, 6, 9]


def test_everything_that_learns_is_in_a_checkpoint(tmp_path: Path) -> None:
    rich: dict[str, Any] = {
        "optimizer": "adamw",
        "loss": "adaface",
        "ema": 0.9,
        "sample_rate": 0.5,
        "accumulate": 2,
    }
    settings = replace(SETTINGS, batch_size=3, lr=0.01, **rich)
    expected, _ = run_part(tmp_path / "undisturbed", None, settings)
    run_part(tmp_path / "stopped", 4, settings)
    learner, _ = run_part(tmp_path / "stopped", None, settings)
    assert_equal_states(learner.state(), expected.state())
    assert_equal_states(learner.rows(), expected.rows())


OTHERS: tuple[dict[str, Any], ...] = (
    {"lr": 0.05},
    {"epochs": 4},
    {"batch_size": 4, "accumulate": 2},
    {"precision": "fp32"},
    {"loss": "adaface"},
    {"ema": 0.9},
    {"momentum": 0.0},
    {"sample_rate": 0.5},
)


@pytest.mark.parametrize("changed", OTHERS, ids=str)
def test_a_run_goes_on_with_other_settings(changed: dict[str, Any], tmp_path: Path) -> None:
    run_part(tmp_path, 4)
    _, progress = run_part(tmp_path, None, replace(SETTINGS, **changed))
    assert progress.step == changed.get("epochs", 3) * 3  # the batch is still 6


def test_a_stop_does_not_wait_for_a_verification(tmp_path: Path) -> None:
    _, progress = run_part(tmp_path, 3)
    assert progress.step == 3
    assert [row["step"] for row in progress.verifications] == [0]


def test_what_was_trained_before_a_verification_is_not_risked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LATE_SECONDS", 0)
    saved: list[int] = []
    monkeypatch.setattr(Saver, "save", lambda _, progress: saved.append(progress.step))
    run_part(tmp_path, None)
    assert saved == [3, 6, 9, 9]
