"""Batches: their order, and what becomes of the processes that make them."""

import os
import signal
from typing import Any

import pytest

from training.container.errors import TrainingError
from training.yolov5.schedule import Plan

pytestmark = pytest.mark.usefixtures("ultralytics")


def test_every_epoch_takes_each_picture_once_and_a_part_of_a_run_is_the_same() -> None:
    from training.yolov5.samples import order  # noqa: PLC0415

    plan = Plan.make(pictures=10, batch=4, epochs=3, warmup_epochs=0)
    whole = list(order(10, plan, seed=1, first=0))
    assert [len(batch) for batch in whole] == [4, 4, 2] * 3
    for epoch in range(3):
        taken = [key for batch in whole[3 * epoch : 3 * epoch + 3] for key in batch]
        assert sorted(taken) == [(epoch, number) for number in range(10)]
    assert list(order(10, plan, seed=1, first=4)) == whole[4:]
    assert list(order(10, plan, seed=2, first=0)) != whole


class Fails:
    """In place of pictures."""

    def __init__(self, *, killed: bool) -> None:
        self.killed = killed

    def __getitem__(self, key: tuple[int, int]) -> Any:
        if self.killed:
            os.kill(os.getpid(), signal.SIGKILL)
        raise TrainingError("images/train/a.jpg cannot be decoded: replace it, or take it out")


@pytest.mark.parametrize(("workers", "killed"), [(0, False), (1, False), (1, True)])
def test_what_goes_wrong_in_a_process_is_told_in_one_sentence(workers: int, killed: bool) -> None:
    from training.yolov5.samples import batches  # noqa: PLC0415

    samples: Any = Fails(killed=killed)
    said = (
        "was killed, most likely because memory ran out"
        if killed
        else r"^images/train/a.jpg cannot be decoded"
    )
    with pytest.raises(TrainingError, match=said) as failed:
        next(batches(samples, iter([[(0, 0)]]), workers))
    assert "\n" not in str(failed.value)
