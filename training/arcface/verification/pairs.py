"""Which images of the held-out identities are compared."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.arcface.data.order import PAIRS, generator

MOST_GENUINE = 100_000
MOST_IMPOSTOR = 2_000_000

# Many pairs of few images: a product of matrices is faster than fetching every pair's embeddings (2 million
# pairs of 4,000 images: a seventh of the time), while it computes at most so many times what is asked for.
_ALL_AT_ONCE = 8

Pairs = NDArray[np.int64]  # (n, 2), indices of images


@dataclass(frozen=True)
class PairSet:
    """Pairs of one person and pairs of two people."""

    genuine: Pairs
    impostor: Pairs


def draw(labels: NDArray[np.int64], seed: int) -> PairSet:
    """All pairs, or as many as the limits allow, shuffled by the seed so that folds are alike.

    labels: the identity of each image, (n,).
    """
    rng = generator(seed, PAIRS)
    genuine = np.concatenate([_within(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    genuine = rng.permutation(genuine)[:MOST_GENUINE]
    if len(labels) * (len(labels) - 1) // 2 <= 2 * MOST_IMPOSTOR:
        first, second = np.triu_indices(len(labels), 1)
    else:
        first, second = rng.integers(0, len(labels), (2, 2 * MOST_IMPOSTOR))
    differ = labels[first] != labels[second]
    impostor = rng.permutation(np.stack([first[differ], second[differ]], axis=1))[:MOST_IMPOSTOR]
    return PairSet(genuine.astype(np.int64), impostor.astype(np.int64))


def _within(images: Pairs) -> Pairs:
    first, second = np.triu_indices(len(images), 1)
    return np.stack([images[first], images[second]], axis=1)


def similarities(
    embeddings: NDArray[np.floating[Any]], pairs: Pairs, chunk: int = 65536
) -> NDArray[np.floating[Any]]:
    """Cosine similarities of the pairs, (n,). embeddings: (images, d), of length 1."""
    if len(embeddings) ** 2 <= _ALL_AT_ONCE * len(pairs):
        every: NDArray[np.floating[Any]] = embeddings @ embeddings.T
        return every[pairs[:, 0], pairs[:, 1]]
    parts = [
        np.einsum("nd,nd->n", embeddings[part[:, 0]], embeddings[part[:, 1]])
        for part in np.array_split(pairs, max(1, -(-len(pairs) // chunk)))
    ]
    return np.concatenate(parts)
