"""What is fixed when a run begins: its batch, its steps, and how each rank cuts its share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.arcface.distributed import World
from training.arcface.plan import CURVE_POINTS, Plan
from training.arcface.settings import Settings
from training.container.errors import TrainingError


def test_the_batch_is_that_of_all_ranks_and_parts_together() -> None:
    plan = Plan.make(10_000, Settings(batch_size=32, accumulate=3, epochs=2), World(1, 4))
    assert (plan.batch, plan.parts, plan.per_epoch, plan.total) == (384, 3, 26, 52)
    assert plan.counts(4) == [[32] * 4] * 3


def test_fewer_images_than_a_batch_make_one_batch() -> None:
    plan = Plan.make(50, Settings(batch_size=32, accumulate=4), World(0, 2))
    assert (plan.batch, plan.parts, plan.per_epoch) == (50, 1, 1)


def test_fewer_images_than_the_ranks_need_are_refused() -> None:
    with pytest.raises(TrainingError, match="3 images are too few for 2 ranks"):
        Plan.make(3, Settings(), World(0, 2))


def test_a_resumed_run_keeps_its_batch_and_steps_on_another_number_of_ranks() -> None:
    settings = Settings(batch_size=32, epochs=3, warmup_epochs=1)
    plans = [Plan.make(1000, settings, World(0, 2))]
    plans += [Plan.make(1000, settings, World(0, ranks), batch=plans[0].batch) for ranks in (1, 3, 5)]
    assert [plan.parts for plan in plans] == [1, 2, 1, 1]
    for plan in plans[1:]:
        assert (plan.batch, plan.total, plan.warmup) == (64, plans[0].total, plans[0].warmup)
    assert plans[2].counts(3) == [[21, 21, 22]]


def test_a_resumed_run_whose_batch_is_too_small_for_its_ranks_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"6 images per step, too few for 4 ranks.* at most 3 devices"):
        Plan.make(1000, Settings(), World(0, 4), batch=6)


def test_a_run_whose_outcome_hangs_on_its_verifications_verifies_after_each_epoch() -> None:
    def due(settings: Settings) -> list[int]:
        plan = Plan.make(100, settings, World(), embedded=1000)
        return [step for step in range(plan.total + 1) if plan.verifies_at(step)]

    assert due(Settings(batch_size=50, epochs=4)) == [0, 8]
    assert due(Settings(batch_size=50, epochs=4, patience=2)) == [0, 2, 4, 6, 8]
    assert due(Settings(batch_size=50, epochs=4, best_metric="eer")) == [0, 2, 4, 6, 8]


@given(ranks=st.integers(1, 9), share=st.integers(2, 400), spare=st.integers(0, 8), size=st.integers(4, 128))
def test_no_part_is_above_the_batch_size_or_below_two_and_all_are_there(
    ranks: int, share: int, spare: int, size: int
) -> None:
    batch = ranks * share + spare % ranks
    counts = Plan.make(10_000, Settings(batch_size=size), World(0, ranks), batch=batch).counts(ranks)
    assert sum(map(sum, counts)) == batch
    assert all(2 <= count <= size for part in counts for count in part)


@given(share=st.integers(2, 100), spare=st.integers(0, 2), size=st.integers(2, 3))
def test_for_the_smallest_batch_sizes_a_part_may_have_four_images(share: int, spare: int, size: int) -> None:
    counts = Plan.make(10_000, Settings(batch_size=size), World(0, 3), batch=3 * share + spare).counts(3)
    assert all(2 <= count <= 4 for part in counts for count in part)


@given(steps=st.integers(1, 10**6), interval=st.integers(1, 50), epochs=st.integers(1, 20))
def test_a_curve_has_no_more_points_than_a_page_can_bear(steps: int, interval: int, epochs: int) -> None:
    plan = Plan(images=100, batch=1, parts=1, per_epoch=max(1, steps // epochs), total=steps, epochs=epochs,
                warmup=0, verifications=1)  # fmt: skip
    every = plan.lines_per_point(interval)
    points = steps // (interval * every) + (epochs if every == 1 else 0) + 1
    assert points <= CURVE_POINTS + 1
