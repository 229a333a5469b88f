"""Does it work as well for everybody? The same threshold, group by group."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.arcface.verification.metrics import Scores

FEWEST_PAIRS = 30  # of each kind: below that a rate moves by three per cent with a single pair

Pairs = NDArray[np.int64]


@dataclass(frozen=True)
class Groups:
    """Which group each image is in."""

    names: tuple[str, ...]
    of: NDArray[np.int64]  # (images,), an index into names; -1 where nothing is known


def by_group(
    groups: Groups, genuine: tuple[Pairs, Scores], impostor: tuple[Pairs, Scores], threshold: float
) -> dict[str, dict[str, Any]]:
    """Of the pairs within each group: counts, TAR, FAR and accuracy at the threshold of all.

    genuine, impostor: the pairs (n, 2) and their scores (n,). Accuracy weighs both kinds the same. A group
    with too few pairs of a kind gets the counts and a reason.
    """
    return {
        name: _figures(_within(groups, number, *genuine), _within(groups, number, *impostor), threshold)
        for number, name in enumerate(groups.names)
    }


def _within(groups: Groups, number: int, pairs: Pairs, scores: Scores) -> Scores:
    inside: Scores = scores[(groups.of[pairs] == number).all(axis=1)]
    return inside


def _figures(genuine: Scores, impostor: Scores, threshold: float) -> dict[str, Any]:
    counts = {"genuine": len(genuine), "impostor": len(impostor)}
    if min(counts.values()) < FEWEST_PAIRS:
        reason = f"a group needs {FEWEST_PAIRS} pairs of each kind, not {len(genuine)} and {len(impostor)}"
        return {**counts, "refused": reason}
    tar, far = float((genuine > threshold).mean()), float((impostor > threshold).mean())
    return {**counts, "tar": tar, "far": far, "accuracy": (tar + 1 - far) / 2}
