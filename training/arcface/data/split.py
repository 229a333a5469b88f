"""Which identities are kept away from training, so that verification is on people never seen."""

import numpy as np
from numpy.typing import NDArray

from training.arcface.data.order import SPLIT, generator
from training.container.errors import TrainingError
from training.formats.listing import Listing

FEWEST_TRAINED = 2  # a softmax over one class has nothing to tell apart
FEWEST_HELD_OUT = 2  # one person alone makes no pair of different people
MOST_HELD_OUT = 2000  # identities: beyond that, more pairs tell no more


def hold_out(listing: Listing, fraction: float, seed: int) -> tuple[NDArray[np.bool_], str]:
    """Which identities to hold out, (identities,) bool, and why none are, where none are.

    Only identities with two images or more can be verified, so only they are drawn.
    """
    chosen = np.zeros(len(listing.identities), dtype=bool)
    if fraction == 0:
        return chosen, "holdout_fraction is 0 and there is no validation channel"
    candidates = np.flatnonzero(listing.counts() >= 2)
    wanted = max(FEWEST_HELD_OUT, round(fraction * len(chosen)))
    count = min(wanted, MOST_HELD_OUT, len(candidates), len(chosen) - FEWEST_TRAINED)
    if count < FEWEST_HELD_OUT:
        return chosen, (
            f"{len(candidates)} of {len(chosen)} identities have two images or more: "
            f"holding out two and still training on two is not possible"
        )
    chosen[generator(seed, SPLIT).permutation(candidates)[:count]] = True
    return chosen, ""


def refuse_too_few(listing: Listing) -> None:
    """Raises TrainingError where there is nothing to tell apart."""
    if len(listing.identities) < FEWEST_TRAINED:
        raise TrainingError(
            f"channels.images: {len(listing.identities)} identity with {len(listing)} images: training tells "
            f"people apart, so it needs two identities or more (a folder for each, or a labels channel)"
        )


def refuse_overlap(train: Listing, validation: Listing) -> None:
    """Raises TrainingError where someone is in both; nobody is named."""
    if shared := set(train.identities) & set(validation.identities):
        raise TrainingError(
            f"channels.validation: {len(shared)} of its {len(validation.identities)} identities are in "
            f"channels.images too (the same names), which would flatter the accuracy: "
            f"remove them from one, or rename them where they are different people"
        )


def refuse_unverifiable(validation: Listing) -> None:
    """Raises TrainingError where no pair of one person, or none of two people, can be made."""
    if len(validation.identities) < FEWEST_HELD_OUT or validation.counts().max() < 2:
        raise TrainingError(
            f"channels.validation: {len(validation.identities)} identities, {validation.counts().max()} "
            f"images of the most pictured: verification needs two identities and two images of one person"
        )
