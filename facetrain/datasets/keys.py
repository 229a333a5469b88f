"""The keys of samples in shards: the names that the images had, fit for any tar and unlike each other."""

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

from facetrain.datasets.source import key_of
from training.formats.listing import Listing

_UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\\]")


class Keys:
    """(key, suffix) of image i. Keeps eight bytes an image."""

    def __init__(self, found: Listing):
        self.found = found
        hashes = np.fromiter((_hash(fit(key_of(found, i)[0])) for i in range(len(found))), np.uint64)
        _, places, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        self.shared: NDArray[np.bool_] = counts[places] > 1

    def __getitem__(self, index: int) -> tuple[str, str]:
        key, suffix = key_of(self.found, index)
        if self.shared[index]:  # such as anna/1.jpg and anna/1.png, or 1.jpg in two shards
            return f"{fit(key)}-{_hash(self.found.files[index]):016x}", suffix
        return fit(key), suffix


def shuffled(found: Listing, seed: int) -> NDArray[np.int64]:
    """All indices in an order that the seed and the names alone decide, on any machine and any release."""
    salt = f"{seed}\n"
    return np.argsort(np.fromiter((_hash(salt + file) for file in found.files), np.uint64), kind="stable")


def fit(key: str) -> str:
    """Relative, without dots in the last part (a key ends at the first), without control characters."""
    folder, slash, stem = without_control_characters(key).rpartition("/")
    return f"{folder}{slash}{stem.replace('.', '_') or '_'}"


def without_control_characters(name: str) -> str:
    """Nor backslashes, which part folders on some systems, nor what is no UTF-8."""
    return _UNFIT.sub("_", name)


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
