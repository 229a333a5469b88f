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

    def line(self) -> str:
        """The figures as the log shows them: key=value, refused ones left out."""
        figures = {} if self.accuracy is None else {"accuracy": self.accuracy}
        figures |= {f"tar_at_far_{far}": tar for far, tar in self.tar_at_far.items()}
        figures |= {"eer": self.eer, "auc": self.auc, "threshold": self.threshold}
        counts = f"genuine={self.genuine} impostor={self.impostor}"
        return " ".join(f"{name}={value:.4f}" for name, value in figures.items()) + f" {counts}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def verify(genuine: Scores, impostor: Scores) -> Verification:
    """Every figure that the pairs allow. Both kinds are needed: raises ValueError where one is empty."""
    if not len(genuine) or not len(impostor):
        raise ValueError(f"{len(genuine)} genuine and {len(impostor)} impostor pairs: both are needed")
    refused: dict[str, str] = {}
    accuracy, spread, threshold = None, None, best_threshold(genuine, impostor)
    try:
        accuracy, spread, threshold = k_fold_accuracy(genuine, impostor)
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


def best_threshold(genuine: Scores, impostor: Scores) -> float:
    """The threshold that decides most rightly, both kinds weighing the same however many there are.

    Midway between two neighbouring scores, so that it does not sit on a score it was chosen by.
    """
    candidates = np.unique(np.concatenate([genuine, impostor]))
    middles = np.concatenate([[candidates[0] - 1e-6], (candidates[1:] + candidates[:-1]) / 2])
    rejected = np.searchsorted(np.sort(genuine), middles, side="right") / len(genuine)
    refused = np.searchsorted(np.sort(impostor), middles, side="right") / len(impostor)
    return float(middles[np.argmax(refused - rejected)])


def k_fold_accuracy(genuine: Scores, impostor: Scores, folds: int = FOLDS) -> tuple[float, float, float]:
    """LFW's protocol: each fold is decided with the threshold chosen on the others.

    Gives mean and standard deviation of the folds' accuracies, and the mean threshold. Both kinds weigh the
    same. Pair i is in fold i mod `folds`. Raises ValueError where a fold would lack either kind.
    """
    if min(len(genuine), len(impostor)) < folds:
        raise ValueError(
            f"{folds} folds need {folds} pairs of each kind, not {len(genuine)} and {len(impostor)}"
        )
    accuracies, thresholds = [], []
    for fold in range(folds):
        in_genuine = np.arange(len(genuine)) % folds == fold
        in_impostor = np.arange(len(impostor)) % folds == fold
        threshold = best_threshold(genuine[~in_genuine], impostor[~in_impostor])
        accepted = (genuine[in_genuine] > threshold).mean()
        refused = (impostor[in_impostor] <= threshold).mean()
        accuracies.append((accepted + refused) / 2)
        thresholds.append(threshold)
    return float(np.mean(accuracies)), float(np.std(accuracies)), float(np.mean(thresholds))


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
