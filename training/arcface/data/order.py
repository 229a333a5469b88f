"""Which images come when, and which are mirrored: by seed and step, so that a run can resume anywhere."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# One name for each use of the seed, so that no two draw the same numbers.
ORDER, FLIPS, SPLIT, PAIRS, STATISTICS, CENTRES, SAMPLE, CHANGES = range(8)


def generator(seed: int, use: int, *position: int) -> np.random.Generator:
    return np.random.default_rng([seed, use, *position])


def epoch_order(images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Every image once, in the order of this epoch (0, 1, …)."""
    return generator(seed, ORDER, epoch).permutation(images).astype(np.int64)


def batches(
    images: int, batch: int, seed: int, first_step: int, last_step: int
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.bool_]]]:
    """(step, indices, flips) of the steps first … last - 1, for the batch of all ranks together.

    The same image is mirrored, or not, on any number of ranks.
    """
    size = min(batch, images)
    per_epoch = max(1, images // batch)
    epoch = -1
    for step in range(first_step, last_step):
        if epoch != step // per_epoch:
            epoch = step // per_epoch
            order = epoch_order(images, seed, epoch)
        start = step % per_epoch * size
        flips = generator(seed, FLIPS, step).random(size) < 0.5
        yield step, order[start : start + size], flips
