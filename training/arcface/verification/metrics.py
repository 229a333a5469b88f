"""What the scores of genuine pairs (one person) and impostor pairs (two people) are worth.

Scores are cosine similarities, shape (n,), any order, higher for more alike; a pair is accepted where its
score is above the threshold.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 10
FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)

Scores = NDArray[np.floating[Any]]
Folds = tuple[NDArray[np.int64], NDArray[np.int64]]  # of the genuine and of the impostor pairs


@dataclass(frozen=True)
class Verification:
    """All figures of one evaluation; `refused` says why a figure is missing."""

    genuine: int
    impostor: int
    eer: float
    auc: float
    accuracy: float | None
    accuracy_std: float | None
    threshold: float
    tar_at_far: Mapping[str, float]
    threshold_at_far: Mapping[str, float]
    refused: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def verify(genuine: Scores, impostor: Scores, folds: Folds | None = None) -> Verification:
    """Every figure that the pairs allow. Both kinds are needed: raises ValueError where one is empty.

    folds: as in `k_fold_accuracy`.
    """
    if not len(genuine) or not len(impostor):
        raise ValueError(f"{len(genuine)} genuine and {len(impostor)} impostor pairs: both are needed")
    # Midway between two neighbouring float32 there may be nothing: thresholds need a finer type.
    genuine, impostor = genuine.astype(np.float64), impostor.astype(np.float64)
    refused: dict[str, str] = {}
    accuracy, spread, threshold = None, None, best_threshold(genuine, impostor)
    try:
        accuracy, spread, threshold = k_fold_accuracy(genuine, impostor, folds)
    except ValueError as error:
        refused["accuracy"] = str(error)
    tars, thresholds = {}, {}
    for far in FARS:
        name = f"1e-{round(-np.log10(far))}"
        try:
            tars[name], thresholds[name] = tar_at_far(genuine, impostor, far)
        except ValueError as error:
            refused[f"tar_at_far_{name}"] = str(error)
    return Verification(
        genuine=len(genuine),
        impostor=len(impostor),
        eer=equal_error_rate(genuine, impostor),
        auc=area_under_curve(genuine, impostor),
        accuracy=accuracy,
        accuracy_std=spread,
        threshold=threshold,
        tar_at_far=tars,
        threshold_at_far=thresholds,
        refused=refused,
    )


def best_threshold(genuine: Scores, impostor: Scores, *, balanced: bool = True) -> float:
    """The threshold that decides most rightly.

    balanced: both kinds weigh the same however many there are; else every pair does. Of equally good ones the
    highest, as arcface_torch takes the smallest distance; midway between two neighbouring scores, so that it
    does not sit on a score it was chosen by.
    """
    scores = np.concatenate([genuine, impostor])
    same = np.arange(len(scores)) < len(genuine)
    order = np.argsort(scores)
    return _best(scores[order], same[order], balanced)


def _best(scores: Scores, same: NDArray[np.bool_], balanced: bool) -> float:
    """scores: ascending, (n,); same: whether a pair is genuine."""
    genuine = int(same.sum())
    weights = (1 / max(1, genuine), 1 / max(1, len(same) - genuine)) if balanced else (1.0, 1.0)
    # Rejecting one score more loses a genuine pair or gains an impostor.
    gained = np.concatenate([[0.0], np.cumsum(np.where(same, -weights[0], weights[1]))])
    between = np.concatenate([[True], scores[1:] != scores[:-1], [True]])
    worth = np.where(between, gained, -np.inf)
    rejected = len(scores) - int(np.argmax(worth[::-1]))  # the strictest of equals
    if rejected == 0:
        return float(scores[0]) - 1e-6
    if rejected == len(scores):
        return float(scores[-1]) + 1e-6
    return float(scores[rejected - 1] + scores[rejected]) / 2


def k_fold_accuracy(
    genuine: Scores, impostor: Scores, folds: Folds | None = None
) -> tuple[float, float, float]:
    """LFW's protocol: each fold is decided with the threshold chosen on the others.

    folds: of each genuine and of each impostor pair, as a set's authors give them; then accuracy is the share
    of right decisions, as arcface_torch counts it. Without them pair i of each kind is in fold i mod 10, and
    both kinds weigh the same. Gives mean and standard deviation of the folds' accuracies, and the mean
    threshold. Raises ValueError where a fold would lack either kind, or there are no two folds.
    """
    balanced = folds is None
    if folds is None:
        if min(len(genuine), len(impostor)) < FOLDS:
            raise ValueError(
                f"{FOLDS} folds need {FOLDS} pairs of each kind, not {len(genuine)} and {len(impostor)}"
            )
        folds = np.arange(len(genuine)) % FOLDS, np.arange(len(impostor)) % FOLDS
    scores, fold = np.concatenate([genuine, impostor]), np.concatenate(folds)
    order = np.argsort(scores, kind="stable")
    scores, fold, same = scores[order], fold[order], order < len(genuine)
    numbers = np.unique(fold)
    if len(numbers) < 2:
        raise ValueError("all pairs are in one fold: the threshold is chosen on others, so it takes two")
    outcomes = [_of_fold(scores, same, fold == number, balanced) for number in numbers]
    accuracies, thresholds = zip(*outcomes, strict=True)
    return float(np.mean(accuracies)), float(np.std(accuracies)), float(np.mean(thresholds))


def _of_fold(
    scores: Scores, same: NDArray[np.bool_], inside: NDArray[np.bool_], balanced: bool
) -> tuple[float, float]:
    """Accuracy of the pairs inside, at the threshold of those outside."""
    threshold = _best(scores[~inside], same[~inside], balanced)
    right = (scores[inside] > threshold) == same[inside]
    if not balanced:
        return float(right.mean()), threshold
    return float(right[same[inside]].mean() + right[~same[inside]].mean()) / 2, threshold


def tar_at_far(genuine: Scores, impostor: Scores, far: float) -> tuple[float, float]:
    """True accept rate, and the threshold, where at most `far` of the impostor scores are accepted.

    Raises ValueError where `far` is below 1 / len(impostor), for then no threshold is determined by it.
    """
    allowed = int(far * len(impostor) + 1e-9)
    if allowed < 1:
        raise ValueError(f"FAR {far:g} needs {round(1 / far):,} impostor pairs, there are {len(impostor):,}")
    if allowed >= len(impostor):
        threshold = float(min(np.min(genuine), np.min(impostor))) - 1e-6  # all may pass
    else:
        threshold = float(-np.partition(-impostor, allowed)[allowed])
    return float((genuine > threshold).mean()), threshold


def equal_error_rate(genuine: Scores, impostor: Scores) -> float:
    """Where as many genuine pairs are rejected as impostors accepted; between two thresholds, linear."""
    thresholds = np.unique(np.concatenate([genuine, impostor]))
    thresholds = np.concatenate([[thresholds[0] - 1.0], thresholds])
    rejected = np.searchsorted(np.sort(genuine), thresholds, side="right") / len(genuine)
    accepted = 1 - np.searchsorted(np.sort(impostor), thresholds, side="right") / len(impostor)
    gap = rejected - accepted  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    before = after - 1
    weight = -gap[before] / (gap[after] - gap[before])
    return float(rejected[before] + weight * (rejected[after] - rejected[before]))


def area_under_curve(genuine: Scores, impostor: Scores) -> float:
    """The chance that a genuine pair scores above an impostor pair, ties counting half (Mann-Whitney)."""
    ordered = np.sort(impostor)
    below = np.searchsorted(ordered, genuine, side="left")
    not_above = np.searchsorted(ordered, genuine, side="right")
    return float((below + not_above).mean() / 2 / len(impostor))
