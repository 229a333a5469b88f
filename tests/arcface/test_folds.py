"""Ten-fold accuracy is that of arcface_torch's verification on the same scores."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.arcface.verification.metrics import FOLDS, k_fold_accuracy


def reference(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    """Its protocol: squared distances, thresholds 0, .01 … 4, ten folds in a row, the first of the best."""
    distance, thresholds = 2 - 2 * scores, np.arange(0, 4, 0.01)
    right = (distance[None, :] < thresholds[:, None]) == same[None, :]
    accuracies = []
    for fold in np.array_split(np.arange(len(scores)), FOLDS):
        others = np.setdiff1d(np.arange(len(scores)), fold)
        best = int(np.argmax(right[:, others].mean(axis=1)))
        accuracies.append(right[best, fold].mean())
    return float(np.mean(accuracies))


def ours(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    folds = np.concatenate(
        [np.full(len(part), fold) for fold, part in enumerate(np.array_split(same, FOLDS))]
    )
    return k_fold_accuracy(scores[same], scores[~same], (folds[same], folds[~same]))[0]


def example(seed: int, step: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores of 1,203 pairs, unevenly of both kinds; `step`: only values so far apart."""
    rng = np.random.default_rng(seed)
    same = rng.random(1203) < 0.4
    scores = rng.normal(np.where(same, 0.45, 0.05), 0.2).clip(-0.9, 0.9)
    return np.round(scores / step) * step + 0.003 if step else scores, same


@pytest.mark.parametrize("seed", range(10))
def test_on_scores_that_its_thresholds_can_tell_apart_the_accuracy_is_the_same(seed: int) -> None:
    scores, same = example(seed, step=0.02)
    assert ours(scores, same) == pytest.approx(reference(scores, same), abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_on_any_scores_only_its_coarser_thresholds_make_a_difference(seed: int) -> None:
    scores, same = example(seed)
    assert ours(scores, same) == pytest.approx(reference(scores, same), abs=0.01)


def test_folds_are_those_of_the_set() -> None:
    genuine, impostor = np.array([0.9, 0.8, 0.1]), np.array([0.2, 0.3, 0.5])
    folds = np.array([0, 1, 1]), np.array([0, 0, 1])
    accuracy, spread, _ = k_fold_accuracy(genuine, impostor, folds)
    # Fold 0 by fold 1's threshold (.65): all right. Fold 1 by fold 0's (.6): .1 is wrong, one of three.
    assert accuracy == pytest.approx((1 + 2 / 3) / 2)
    assert spread == pytest.approx(1 / 6)


def test_one_fold_alone_is_refused() -> None:
    folds = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    with pytest.raises(ValueError, match="all pairs are in one fold"):
        k_fold_accuracy(np.array([0.9, 0.8]), np.array([0.1, 0.2]), folds)
