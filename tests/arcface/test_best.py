"""Which verification is the best."""

from typing import Any

import pytest

from training.arcface.best import judge, value_of
from training.container.errors import TrainingError

FIGURES = {"accuracy": 0.9, "eer": 0.1, "tar_at_far": {"1e-3": 0.7}, "refused": {"1e-4": "only 4000 pairs"}}


def bests(metric: str, rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """The best step and the count without a better one, after each verification of steps 1, 2, …"""
    best, without, found = None, 0, []
    for step, figures in enumerate(rows, 1):
        verdict = judge(figures, step, metric, best, without)
        best, without = verdict.best, verdict.without_better
        found.append((best["step"] if best else 0, without))
    return found


def test_the_highest_accuracy_is_the_best_and_an_equal_one_later_is_not() -> None:
    rows = [{"accuracy": value} for value in (0.5, 0.7, 0.7, 0.6, 0.8)]
    assert bests("accuracy", rows) == [(1, 0), (2, 0), (2, 1), (2, 2), (5, 0)]


def test_the_lowest_equal_error_rate_is_the_best() -> None:
    rows = [{"eer": value} for value in (0.5, 0.7, 0.3)]
    assert bests("eer", rows) == [(1, 0), (1, 1), (3, 0)]


def test_a_rate_at_a_false_accept_rate_is_found_by_its_knobs_name() -> None:
    assert value_of(FIGURES, "tar_at_far_1e-3") == 0.7
    assert value_of(FIGURES, "tar_at_far_1e-4") is None


def test_a_metric_that_the_pairs_are_too_few_for_is_refused_with_the_reason() -> None:
    with pytest.raises(TrainingError, match=r"best_metric tar_at_far_1e-4 .*\(only 4000 pairs\): choose"):
        judge(FIGURES, 1, "tar_at_far_1e-4", None, 0)


def test_the_last_weights_need_no_metric_and_patience_watches_accuracy_then() -> None:
    assert judge({"accuracy": None}, 1, "last", None, 0).best is None
    assert bests("last", [{"accuracy": 0.9}, {"accuracy": 0.8}]) == [(1, 0), (1, 1)]
