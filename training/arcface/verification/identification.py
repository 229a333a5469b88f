"""Whose picture is it? Closed-set identification: everybody who is asked for is in the gallery."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_PROBES = 10_000  # beyond that, more pictures say the same and cost their number times the gallery's
_BLOCK = 1024


def rank_1(embeddings: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> tuple[float | None, str]:
    """How often the picture most like another is one of the same person; None and why, where nobody is asked.

    Each picture in turn is left out and looked for among all others. embeddings: (n, d), of length 1; labels:
    (n,), whose each is. Asked are those of whom there is another picture, at most MOST_PROBES of them, evenly
    taken; the rest are distractors. Needs _BLOCK x n similarities at a time.
    """
    probes = np.flatnonzero(np.bincount(labels)[labels] > 1)
    if not len(probes) or len(np.unique(labels)) < 2:
        return None, "needs two pictures of one person, and one of another"
    probes = probes[:: -(-len(probes) // MOST_PROBES)]
    found = 0
    for start in range(0, len(probes), _BLOCK):
        block = probes[start : start + _BLOCK]
        similarities = embeddings[block] @ embeddings.T
        similarities[np.arange(len(block)), block] = -np.inf  # itself
        found += int((labels[similarities.argmax(axis=1)] == labels[block]).sum())
    return found / len(probes), ""
