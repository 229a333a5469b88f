"""Pure functions of the step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.arcface import schedule


def test_the_rate_rises_to_its_peak_and_falls_towards_zero() -> None:
    rates = [schedule.learning_rate(step, peak=0.1, warmup=4, total=10) for step in range(10)]
    expected = [0.025, 0.05, 0.075, 0.1, 0.1, 0.1 * 5 / 6, 0.1 * 4 / 6, 0.05, 0.1 * 2 / 6, 0.1 / 6]
    assert rates == pytest.approx(expected)


def test_a_cosine_falls_along_half_a_wave() -> None:
    rates = [schedule.learning_rate(step, peak=0.1, warmup=2, total=6, decay="cosine") for step in range(6)]
    assert rates == pytest.approx([0.05, 0.1, 0.1, 0.0853553, 0.05, 0.0146447], abs=1e-6)


@pytest.mark.parametrize("decay", ["polynomial", "cosine"])
@given(total=st.integers(1, 300), share=st.floats(0, 1), step=st.integers(0, 299))
def test_no_step_has_a_rate_of_zero_or_above_the_peak(
    decay: str, total: int, share: float, step: int
) -> None:
    warmup = round(share * total)
    rate = schedule.learning_rate(step % total, peak=1.0, warmup=warmup, total=total, decay=decay)
    assert 0 < rate <= 1


def test_an_average_forgets_the_beginning_of_a_run_soon_and_later_as_slowly_as_told() -> None:
    assert [schedule.average_decay(step, 0.99) for step in (0, 8, 10_000)] == [0.1, 0.5, 0.99]


def test_the_usual_rate_is_that_of_the_recipes() -> None:
    rates = [schedule.usual_rate("sgd", batch) for batch in (128, 1024)]
    assert rates == pytest.approx([0.02, 0.1], rel=1e-3)
    assert schedule.usual_rate("adamw", 4096) == 0.001


@pytest.mark.parametrize(("images", "batch", "steps"), [(100, 32, 3), (96, 32, 3), (5, 32, 1), (32, 32, 1)])
def test_an_epoch_is_full_batches_or_one_small_one(images: int, batch: int, steps: int) -> None:
    assert schedule.steps_per_epoch(images, batch) == steps


def test_max_steps_cuts_a_run_short_and_zero_does_not() -> None:
    assert schedule.total_steps(100, 10, epochs=3, max_steps=0) == 30
    assert schedule.total_steps(100, 10, epochs=3, max_steps=7) == 7
    assert schedule.total_steps(100, 10, epochs=3, max_steps=70) == 30


@given(epochs=st.integers(1, 1000), count=st.integers(1, 10))
def test_a_run_verifies_at_its_end_and_as_often_as_it_may(epochs: int, count: int) -> None:
    due = [epoch for epoch in range(1, epochs + 1) if schedule.verification_due(epoch, epochs, count)]
    assert due[-1] == epochs
    assert len(due) == min(epochs, count)


@given(trained=st.integers(1, 10**9), embedded=st.integers(0, 10**6))
def test_verifying_takes_a_tenth_of_the_work_at_most_unless_it_is_the_last(
    trained: int, embedded: int
) -> None:
    count = schedule.verifications(trained, embedded)
    assert 1 <= count <= 10
    assert count == 1 or count * embedded <= trained * 3 * 0.1
