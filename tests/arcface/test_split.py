"""Who is held out, and which images come when."""

from pathlib import Path

import numpy as np
import pytest

from training.arcface.data import split
from training.arcface.data.order import batches
from training.container.errors import TrainingError
from training.formats.listing import Listing


def people(*images: int) -> Listing:
    pairs = [(f"{who}/{n}.jpg", f"{who}") for who, count in enumerate(images) for n in range(count)]
    return Listing.of(Path("none"), pairs)


def test_a_share_of_the_identities_is_held_out_by_the_seed() -> None:
    listing = people(*[3] * 40)
    chosen, reason = split.hold_out(listing, 0.1, seed=1)
    assert chosen.sum() == 4
    assert not reason
    assert (split.hold_out(listing, 0.1, seed=1)[0] == chosen).all()
    assert (split.hold_out(listing, 0.1, seed=2)[0] != chosen).any()


def test_identities_with_one_picture_are_not_held_out() -> None:
    chosen, _ = split.hold_out(people(1, 5, 1, 5, 1), 0.5, seed=0)
    assert chosen.tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("images", [(5, 5), (5, 5, 5), (1, 1, 1, 1, 1), (5, 1, 1, 1)])
def test_where_nobody_can_be_held_out_the_reason_is_given(images: tuple[int, ...]) -> None:
    chosen, reason = split.hold_out(people(*images), 0.1, seed=0)
    assert not chosen.any()
    assert "is not possible" in reason


def test_one_identity_is_refused() -> None:
    with pytest.raises(TrainingError, match="1 identity with 7 images"):
        split.refuse_too_few(people(7))


def test_an_identity_in_training_and_validation_is_refused_unnamed() -> None:
    both = Listing.of(Path("x"), [("anna/1.jpg", "anna"), ("ben/1.jpg", "ben")])
    with pytest.raises(TrainingError, match="2 of its 2 identities") as refusal:
        split.refuse_overlap(both, both)
    assert "anna" not in str(refusal.value)


@pytest.mark.parametrize("images", [(9,), (1, 1, 1)])
def test_a_validation_channel_without_pairs_is_refused(images: tuple[int, ...]) -> None:
    with pytest.raises(TrainingError, match=r"channels\.validation"):
        split.refuse_unverifiable(people(*images))


def test_an_epoch_shows_every_image_once_and_the_next_in_another_order() -> None:
    steps = list(batches(12, 4, 7, 0, 6))
    first = np.concatenate([indices for _, indices, _ in steps[:3]])
    second = np.concatenate([indices for _, indices, _ in steps[3:]])
    assert sorted(first) == sorted(second) == list(range(12))
    assert (first != second).any()


def test_batches_from_the_middle_are_those_of_a_run_from_the_start() -> None:
    whole, rest = list(batches(10, 3, 7, 0, 9)), list(batches(10, 3, 7, 5, 9))
    for (step, indices, flips), (other, *expected) in zip(rest, whole[5:], strict=True):
        assert step == other
        assert (indices == expected[0]).all()
        assert (flips == expected[1]).all()


def test_fewer_images_than_a_batch_make_one_batch() -> None:
    steps = list(batches(5, 32, 0, 0, 2))
    assert [len(indices) for _, indices, _ in steps] == [5, 5]
