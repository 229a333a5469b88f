"""The loop's promises beside resuming: what it refuses, when it saves, what it logs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.arcface.examples import TinyNetwork, dataset
from training.arcface.data.store import Dataset
from training.arcface.distributed import World
from training.arcface.learner import Learner, to_input
from training.arcface.loop import Loop, Plan, Progress, ahead
from training.arcface.settings import Settings
from training.container.errors import TrainingError
from training.container.stopping import Stop


def loop_of(data: Dataset, settings: Settings, log: Callable[[str], None] = print) -> tuple[Loop, list[int]]:
    """A loop over a tiny network, and the steps at which it saved."""
    torch.manual_seed(0)
    learner = Learner(TinyNetwork(), len(data.listing.identities), settings, World(), compiled=False)
    saved: list[int] = []
    loop = Loop(
        learner,
        data,
        Plan.make(len(data.listing), settings, World()),
        Progress(),
        stop=Stop(),
        save=lambda progress: saved.append(progress.step),
        verify=lambda: None,
        log=log,
    )
    return loop, saved


def test_a_loss_that_is_no_number_stops_with_the_step_and_the_remedy() -> None:
    loop, saved = loop_of(dataset(3, 4), Settings(batch_size=6, epochs=3, lr=1e30, gradient_clip=0))
    with pytest.raises(
        TrainingError, match=r"the loss is nan at step 2 of 6 \(lr 8.*\); likeliest cause: lr 1e\+30.*try"
    ):
        loop.run()
    assert saved == []


def test_fewer_images_than_a_batch_still_train() -> None:
    loop, _ = loop_of(dataset(2, 2), Settings(batch_size=128, epochs=3))
    loop.run()
    assert loop.progress.step == 3


def test_checkpoints_are_made_by_time_and_at_the_end() -> None:
    settings = Settings(batch_size=4, epochs=2, checkpoint_seconds=1e-9)
    loop, saved = loop_of(dataset(2, 4), settings)
    loop.run()
    assert saved == [1, 2, 3, 4]
    loop, saved = loop_of(dataset(2, 4), Settings(batch_size=4, epochs=2))
    loop.run()
    assert saved == [4]


def test_a_line_is_logged_each_interval_and_at_each_epochs_end() -> None:
    lines: list[str] = []
    loop, _ = loop_of(dataset(2, 5), Settings(batch_size=2, epochs=2, log_interval=3, lr=0.1), lines.append)
    loop.run()
    assert [line.split(" loss=")[0] for line in lines] == [
        "epoch=1 step=3/10",
        "epoch=1 step=5/10",
        "epoch=2 step=6/10",
        "epoch=2 step=9/10",
        "epoch=2 step=10/10",
    ]
    assert all(" lr=0." in line and " images_per_second=" in line for line in lines)


def test_max_steps_ends_a_run_in_the_middle_of_an_epoch() -> None:
    loop, saved = loop_of(dataset(2, 5), Settings(batch_size=2, epochs=2, max_steps=7))
    loop.run()
    assert saved == [7]
    assert [row["epoch"] for row in loop.progress.epochs] == [1, 2]


def test_batches_are_made_ahead_in_order_and_an_error_in_them_is_raised() -> None:
    def items(count: int) -> Any:
        yield from range(1, count)
        raise RuntimeError("the disk is gone")

    made = ahead(items(4))
    assert [next(made) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(RuntimeError, match="the disk is gone"):
        next(made)


def test_estimated_statistics_are_those_of_the_images() -> None:
    data = dataset(2, 8)
    learner = Learner(TinyNetwork(), 2, Settings(precision="fp32"), World(), compiled=False)
    images = to_input(data.images.pixels, torch.device("cpu"))  # type: ignore[attr-defined]
    learner.estimate_statistics([images])
    conv, bn = learner.backbone.get_submodule("conv"), learner.backbone.get_submodule("bn")
    with torch.no_grad():
        values = conv(images)
    torch.testing.assert_close(bn.running_mean, values.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(bn.running_var, values.var((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert bn.momentum == 0.1


def test_estimating_statistics_leaves_training_as_it_is() -> None:
    data, states = dataset(2, 8), []
    for estimates in (False, True):
        loop, _ = loop_of(data, Settings(batch_size=4, epochs=1, lr=0.1))
        if estimates:
            pixels, _ = data.images.take(np.arange(4))
            loop.learner.estimate_statistics([to_input(pixels, torch.device("cpu"))])
        loop.run()
        states.append(dict(loop.learner.backbone.named_parameters()))
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
