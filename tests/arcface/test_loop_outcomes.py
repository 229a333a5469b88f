"""What a loop keeps, when it ends early, how it tries again, and that an interruption leaves no seam."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.arcface.examples import TinyNetwork, dataset
from training.arcface.distributed import World
from training.arcface.learner import Learner
from training.arcface.loop import Loop, Plan, Progress
from training.arcface.settings import Settings
from training.container.errors import StoppedError, TrainingError
from training.container.stopping import Stop

DATA = dataset(3, 4)
EPOCHS: dict[str, Any] = {"batch_size": 6, "epochs": 6, "lr": 0.05, "log_interval": 1}


class Disk:
    """Keeps copies in place of a Saver."""

    def __init__(self, learner: Learner):
        self.learner, self.kept = learner, list[tuple[Progress, dict[str, Any], dict[str, Tensor]]]()
        self.best: list[int] = []

    def save(self, progress: Progress) -> None:
        rows = copy.deepcopy(self.learner.rows())
        self.kept.append((copy.deepcopy(progress), self.learner.state(), rows))

    def keep_best(self, progress: Progress) -> None:
        self.best.append(progress.step)

    def reload(self) -> Progress:
        progress, state, rows = self.kept[-1]
        self.learner.load_state(state)
        self.learner.load_rows(rows)
        return copy.deepcopy(progress)

    def steps(self) -> list[int]:
        return [progress.step for progress, _, _ in self.kept]


def learner_of(settings: Settings, kind: type[Learner] = Learner) -> Learner:
    torch.manual_seed(0)
    return kind(TinyNetwork(), 3, settings, World(), compiled=False)


def loop_of(
    settings: Settings,
    *,
    learner: Learner | None = None,
    progress: Progress | None = None,
    accuracies: list[float] | None = None,
    log: Callable[[str], None] = print,
    stop: Stop | None = None,
) -> tuple[Loop, Disk]:
    """A loop whose verifications after step 0 give these accuracies."""
    learner = learner or learner_of(settings)
    disk, figures = Disk(learner), iter([0.5, *(accuracies or [])])
    loop = Loop(
        learner,
        DATA,
        Plan.make(len(DATA.listing), settings, World()),
        progress or Progress(),
        stop=stop or Stop(),
        save=disk.save,
        verify=lambda: {"accuracy": next(figures)} if accuracies else None,
        log=log,
        keep_best=disk.keep_best,
        reload=disk.reload,
    )
    return loop, disk


# -- The best, and an early end ----------------------------------------------------------------------------


def test_the_weights_of_each_verification_that_is_the_best_so_far_are_kept() -> None:
    loop, disk = loop_of(
        Settings(**EPOCHS, best_metric="accuracy"), accuracies=[0.6, 0.8, 0.7, 0.8, 0.9, 0.6]
    )
    loop.run()
    assert disk.best == [2, 4, 10]
    assert loop.progress.best == {"step": 10, "metric": "accuracy", "value": 0.9}


def test_what_the_untrained_network_verifies_at_is_never_the_best() -> None:
    loop, disk = loop_of(Settings(**EPOCHS, best_metric="accuracy"), accuracies=[0.4] * 6)
    loop.run()
    assert disk.best == [2]


def test_nothing_is_kept_where_the_last_weights_are_wanted() -> None:
    loop, disk = loop_of(Settings(**EPOCHS), accuracies=[0.6] * 6)
    loop.run()
    assert disk.best == []


def test_a_run_ends_after_as_many_verifications_without_a_better_one_as_patience_says() -> None:
    lines: list[str] = []
    loop, disk = loop_of(
        Settings(**EPOCHS, patience=2), accuracies=[0.8, 0.7, 0.8, 0.9, 0.9], log=lines.append
    )
    loop.run()
    assert (loop.progress.step, len(loop.progress.epochs)) == (6, 3)
    assert disk.steps() == [6]
    assert lines[-1] == "stopped early step=6/12 best_step=2 best_accuracy=0.8000 without_better=2"


def test_a_run_that_ended_early_does_not_go_on_when_it_is_resumed() -> None:
    settings = Settings(**EPOCHS, patience=1)
    loop, disk = loop_of(settings, accuracies=[0.8, 0.7])
    loop.run()
    progress, _, _ = disk.kept[-1]
    again, _ = loop_of(settings, learner=loop.learner, progress=progress, accuracies=[0.9])
    again.run()
    assert again.progress.step == 4


def test_until_the_first_step_there_is_nothing_that_a_stop_would_wait_for() -> None:
    stop, waited, stepped = Stop(), list[bool](), list[bool]()
    settings = Settings(**EPOCHS, patience=9)

    class Watched(Learner):
        def step(self, parts: Any, step: int, rate: float, counts: Any = None) -> Tensor:
            stepped.append(stop.waits)
            return super().step(parts, step, rate, counts)

    loop, _ = loop_of(settings, learner=learner_of(settings, Watched), stop=stop)
    loop.verify = lambda: waited.append(stop.waits)
    loop.run()
    assert waited == [False] + [True] * 6
    assert stepped == [False] + [True] * 11


def test_a_best_metric_without_a_verification_is_refused_before_the_first_step() -> None:
    loop, _ = loop_of(Settings(**EPOCHS, best_metric="eer"))
    with pytest.raises(TrainingError, match="best_metric eer needs a verification, and this run has none"):
        loop.run()
    assert loop.progress.step == 0


# -- Trouble -----------------------------------------------------------------------------------------------


class Breaking(Learner):
    """Loses its weights at step 4 (the fifth), once or each time."""

    times = 1

    def step(self, parts: Any, step: int, rate: float, counts: Any = None) -> Tensor:
        if step == 4 and self.times:
            self.times -= 1
            with torch.no_grad():
                self.backbone.get_parameter("fc.weight").fill_(math.nan)
        return super().step(parts, step, rate, counts)


def test_after_a_loss_that_is_no_number_a_run_goes_on_from_the_newest_checkpoint_at_a_lower_rate() -> None:
    lines: list[str] = []
    settings = Settings(**EPOCHS, retry_lr=0.1, checkpoint_steps=3)
    loop, disk = loop_of(settings, learner=learner_of(settings, Breaking), log=lines.append)
    loop.run()
    assert disk.steps() == [0, 3, 6, 9, 12]
    assert [point["step"] for point in loop.progress.curve] == list(range(1, 13))
    plan = loop.plan
    rates = [point["lr"] for point in loop.progress.curve]
    assert rates == [plan.rate(step, 0.05 if step < 3 else 0.05 * 0.1) for step in range(12)]
    (line,) = [line for line in lines if "once more" in line]
    assert line.startswith("the loss is nan at step 5 of 12 (likeliest cause: ")
    assert line.endswith("once more from step 3 with lr=0.005")


def test_before_its_first_checkpoint_a_run_goes_back_to_its_beginning() -> None:
    settings = Settings(**EPOCHS, retry_lr=0.5)
    loop, disk = loop_of(settings, learner=learner_of(settings, Breaking))
    loop.run()
    assert disk.steps() == [0, 12]
    assert all(math.isfinite(point["loss"]) for point in loop.progress.curve)


def test_a_run_is_tried_again_only_once() -> None:
    settings = Settings(**EPOCHS, retry_lr=0.5)
    learner = learner_of(settings, Breaking)
    learner.times = 2  # type: ignore[attr-defined]
    loop, _ = loop_of(settings, learner=learner)
    with pytest.raises(TrainingError, match=r"nan at step 5 of 12 .*also at the lower rate of its retry"):
        loop.run()


def test_weights_that_are_no_numbers_are_refused_before_the_first_step() -> None:
    loop, _ = loop_of(Settings(**EPOCHS))
    with torch.no_grad():
        loop.learner.backbone.get_parameter("fc.weight")[0] = math.inf
    with pytest.raises(TrainingError, match="some weights are no numbers before the first step"):
        loop.run()


# -- No seam -----------------------------------------------------------------------------------------------


class StopAfter(Stop):
    """Stops a run when it has asked so many times."""

    def __init__(self, times: int):
        super().__init__()
        self.times = times

    def __getattribute__(self, name: str) -> Any:
        if name == "requested":
            self.times -= 1
            return self.times < 0
        return super().__getattribute__(name)


def told(progress: Progress) -> list[tuple[Any, ...]]:
    return [(point["step"], point["loss"], point["lr"]) for point in progress.curve]


MODES: list[dict[str, Any]] = [
    {},
    {"accumulate": 2, "ema": 0.9, "precision": "fp16"},
    {"accumulate": 2, "optimizer": "adamw", "lr": 1e-3, "ema": 0.9, "precision": "bf16"},
    {"accumulate": 2, "loss": "adaface", "sample_rate": 0.5},
]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_run_that_was_stopped_between_two_lines_shows_no_seam(mode: dict[str, Any]) -> None:
    settings = Settings(**({"batch_size": 2, "epochs": 4, "lr": 0.05, "log_interval": 4} | mode))
    whole, _ = loop_of(settings)
    whole.run()
    first, disk = loop_of(settings, stop=StopAfter(5))
    with pytest.raises(StoppedError):
        first.run()
    disk.learner = learner_of(settings)
    second, _ = loop_of(settings, learner=disk.learner, progress=disk.reload())
    second.run()
    shown = second.learner.evaluated()
    assert all(torch.equal(value, shown[name]) for name, value in whole.learner.evaluated().items())
    assert torch.equal(second.learner.head.centres, whole.learner.head.centres)
    assert told(second.progress) == told(whole.progress)
    assert second.progress.epochs == whole.progress.epochs


def test_a_long_run_tells_every_line_and_keeps_a_thinned_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.arcface.plan.CURVE_POINTS", 8)
    lines: list[str] = []
    loop, _ = loop_of(Settings(**EPOCHS), log=lines.append)
    loop.run()
    assert len(lines) == 12
    assert [point["step"] for point in loop.progress.curve] == [3, 6, 9, 12]
