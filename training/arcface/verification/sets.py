"""What is verified on: pairs of images, and where they come from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.arcface.data.store import Dataset, Images
from training.arcface.verification.groups import Groups
from training.arcface.verification.pairs import draw


@dataclass(frozen=True)
class EvaluationSet:
    """Distinct images, and which of them are compared."""

    name: str
    images: Images
    count: int  # distinct images
    first: NDArray[np.int64]  # (pairs,), indices of images
    second: NDArray[np.int64]
    same: NDArray[np.bool_]
    folds: NDArray[np.int64] | None = None  # (pairs,), where the set's authors say them
    labels: NDArray[np.int64] | None = None  # (images,), whose each is
    groups: Groups | None = None


def of_identities(name: str, dataset: Dataset, seed: int, groups: Groups | None = None) -> EvaluationSet:
    """Pairs that the seed draws from the images of identities."""
    labels = dataset.listing.labels
    pairs = draw(labels, seed)
    both = np.concatenate([pairs.genuine, pairs.impostor])
    same = np.arange(len(both)) < len(pairs.genuine)
    return EvaluationSet(
        name, dataset.images, len(labels), both[:, 0], both[:, 1], same, labels=labels, groups=groups
    )
