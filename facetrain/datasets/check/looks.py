"""Pictures that look alike though their pixels differ: the same photograph saved once more.

A perceptual hash proposes pairs, and their pixels decide. The hash is the signs of the 128 lowest
frequencies of the brightness (a discrete cosine transform, as pHash has it); near hashes are found by sorting
them in four rotations and comparing each with those that follow (Manku et al., "Detecting Near-Duplicates for
Web Crawling", 2007). Aligned faces have near hashes without being one photograph, hence the second look.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from training.formats.decode import SIZE, Pixels

FREQUENCIES = 16  # of each direction, of which the lowest 128 count
BITS = 128
NEIGHBOURS = 4  # compared in each of the sorted rows
MOST_BITS = 8  # that may differ for a pair to be looked at: a copy saved anew differs in 5 or fewer
MOST_DIFFERENCE = 4.0  # grey levels on average: two photographs of one sitting (AT&T) differ by 5.2 or more
FLAT = 4.0  # standard deviation in grey levels: below it there is nothing to compare
MOST_PAIRS = 20_000  # looked at, the nearest first: more are no accident, and would take minutes

_Hashes = NDArray[np.uint64]


def _transform() -> NDArray[np.float32]:
    """(16, 112): the rows of the cosine transform for the lowest frequencies."""
    places = (np.arange(SIZE) + 0.5) * np.pi / SIZE
    return np.cos(np.arange(FREQUENCIES)[:, None] * places).astype(np.float32)


def _lowest() -> NDArray[np.int64]:
    """(128,): places in the flat (16, 16), from the lowest frequency on, without the mean."""
    rows, columns = np.divmod(np.arange(FREQUENCIES**2), FREQUENCIES)
    order = np.lexsort((rows, rows + columns))
    return order[1 : BITS + 1].astype(np.int64)


_TRANSFORM, _LOWEST = _transform(), _lowest()


def look_of(images: Pixels) -> _Hashes:
    """(n, 2) of (n, 112, 112, 3) RGB; green stands for the brightness. Zero where a picture is flat."""
    green = images[..., 1].astype(np.float32)
    spectrum = _TRANSFORM @ green @ _TRANSFORM.T
    bits = spectrum.reshape(len(images), -1)[:, _LOWEST] > 0
    hashes = np.ascontiguousarray(np.packbits(bits, axis=1)).view(np.uint64)
    hashes[green.std(axis=(1, 2)) < FLAT] = 0
    return hashes


def proposals(hashes: _Hashes) -> NDArray[np.int64]:
    """Pairs of places with near hashes, (m, 2), the lower first, each once, the nearest first."""
    used = np.flatnonzero(hashes.any(axis=1))
    pairs = [found[:MOST_PAIRS] for found in _rows(hashes[used])]
    if not pairs:
        return np.zeros((0, 2), np.int64)
    each = used[np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)]
    return each[np.argsort(_distance(hashes[each[:, 0]], hashes[each[:, 1]]), kind="stable")]


def _rows(hashes: _Hashes) -> Iterator[NDArray[np.int64]]:
    parts = hashes.view(np.uint32)
    for first in range(4):
        order = np.lexsort(np.roll(parts, -first, axis=1).T[::-1])
        for step in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
            near = _distance(hashes[order[step:]], hashes[order[:-step]]) <= MOST_BITS
            yield np.stack([order[:-step][near], order[step:][near]], axis=1)


def _distance(one: _Hashes, other: _Hashes) -> NDArray[np.int64]:
    """How many bits differ, (n,)."""
    different: NDArray[np.int64] = np.bitwise_count(one ^ other).sum(axis=1, dtype=np.int64)
    return different


def difference(one: Pixels, other: Pixels) -> float:
    """In grey levels on average, over the picture, with brightness and contrast made equal."""
    first, second = (image[..., 1].astype(np.float32) for image in (one, other))
    return float(np.abs(_even(first) - _even(second)).mean())


def _even(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """With mean 0 and a standard deviation of 50 grey levels."""
    spread: NDArray[np.float32] = (grey - grey.mean()) * np.float32(50 / max(float(grey.std()), 1.0))
    return spread
