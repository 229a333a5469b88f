"""Where a run's class centres start, when its weights come from an earlier one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tests.arcface.examples import TinyNetwork, dataset
from training.arcface import finetune
from training.arcface.data.store import Dataset
from training.arcface.distributed import World
from training.arcface.finetune import LENGTH, start_centres
from training.arcface.head import MarginHead
from training.arcface.learner import Learner, to_input
from training.arcface.settings import Settings
from training.arcface.weights import Pretrained
from training.container.errors import StoppedError
from training.container.stopping import Stop
from training.formats.listing import Listing

IDENTITIES, IMAGES = 5, 3
DATA = dataset(IDENTITIES, IMAGES)
# Of the run's identities "0" … "4" the earlier run knew two, in another order, and somebody else.
EARLIER = Pretrained(
    "model.tar.gz", {}, torch.randn(3, 512, generator=torch.Generator().manual_seed(1)), ("3", "someone", "1")
)


def learner_of(world: World | None = None) -> Learner:
    """One rank of several is played by its head alone: it is all that tells them apart here."""
    torch.manual_seed(0)
    learner = Learner(TinyNetwork(), IDENTITIES, Settings(precision="fp32"), World(), compiled=False)
    learner.head = MarginHead(IDENTITIES, 512, learner.head.margin, world or World())
    return learner


def as_it_is() -> None:
    """BatchNorm's statistics are left alone."""


def started(
    pretrained: Pretrained, world: World | None = None, data: Dataset = DATA
) -> tuple[Tensor, list[str]]:
    learner, log = learner_of(world), list[str]()
    start_centres(learner, data, pretrained, Stop(), log.append, settle=as_it_is)
    return learner.head.centres, log


def mean_direction(learner: Learner, indices: list[int]) -> Tensor:
    pixels, _ = DATA.images.take(np.array(indices))
    return normalize(learner.embed(to_input(pixels, learner.world.device)).mean(0), dim=0)


def test_known_identities_keep_their_centres_by_name() -> None:
    centres, _ = started(EARLIER)
    assert EARLIER.centres is not None
    for number, row in ((3, 0), (1, 2)):
        torch.testing.assert_close(normalize(centres[number], dim=0), normalize(EARLIER.centres[row], dim=0))


def test_new_identities_start_at_their_images_mean_embedding() -> None:
    centres, _ = started(EARLIER)
    for number in (0, 2, 4):
        images = range(number * IMAGES, (number + 1) * IMAGES)
        expected = mean_direction(learner_of(), list(images))
        torch.testing.assert_close(normalize(centres[number], dim=0), expected)


def test_how_many_are_known_and_new_is_logged_without_names() -> None:
    assert started(EARLIER)[1] == ["fine_tuning identities known=2 new=3"]


def test_every_centre_has_a_fresh_ones_length() -> None:
    fresh = MarginHead(2000, 512, learner_of().head.margin, World()).centres
    assert fresh.norm(dim=1).mean().item() == pytest.approx(LENGTH, rel=0.01)
    centres, _ = started(EARLIER)
    torch.testing.assert_close(centres.norm(dim=1), torch.full((IDENTITIES,), LENGTH))


def test_weights_without_centres_make_every_identity_new() -> None:
    centres, log = started(Pretrained("backbone.pth", {}))
    assert log == ["fine_tuning identities known=0 new=5"]
    torch.testing.assert_close(normalize(centres[1], dim=0), mean_direction(learner_of(), [3, 4, 5]))


@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_the_ranks_set_their_own_rows_and_together_all(ranks: int) -> None:
    parts = [started(EARLIER, World(rank, ranks))[0] for rank in range(ranks)]
    torch.testing.assert_close(torch.cat(parts), started(EARLIER)[0])


def test_starting_twice_gives_the_same_bits() -> None:
    assert torch.equal(started(EARLIER)[0], started(EARLIER)[0])


def test_of_many_images_some_are_taken_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "MOST_IMAGES", 2)
    centres, _ = started(Pretrained("backbone.pth", {}))
    torch.testing.assert_close(normalize(centres[1], dim=0), mean_direction(learner_of(), [3, 4]))


def test_new_centres_are_made_under_the_runs_own_statistics_which_do_not_stay() -> None:
    learner = learner_of()
    before = [buffer.clone() for buffer in learner.backbone.buffers()]
    images = to_input(DATA.images.take(np.arange(len(DATA.listing)))[0], learner.world.device)

    def settle() -> None:
        learner.estimate_statistics([images])

    start_centres(learner, DATA, EARLIER, Stop(), print, settle=settle)
    assert all(map(torch.equal, learner.backbone.buffers(), before))
    settle()
    expected = mean_direction(learner, [0, 1, 2])
    torch.testing.assert_close(normalize(learner.head.centres[0], dim=0), expected)


class SecondImages:
    """As streamed images do: one that cannot be read is stood in for by the next."""

    def __init__(self, unreadable: int):
        self.unreadable = unreadable

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        got = np.where(indices == self.unreadable, indices + 1, indices)
        return DATA.images.take(got)[0], got

    def keep(self, chosen: np.ndarray) -> "SecondImages":
        raise NotImplementedError


def test_an_image_that_stands_in_from_another_identity_is_left_out() -> None:
    centres, _ = started(Pretrained("backbone.pth", {}), data=Dataset(DATA.listing, SecondImages(5)))
    torch.testing.assert_close(normalize(centres[1], dim=0), mean_direction(learner_of(), [3, 4]))


def test_an_identity_of_which_nothing_can_be_read_keeps_a_fresh_centre() -> None:
    listing = Listing.of(
        Path("none"), [("0.png", "a"), ("1.png", "b"), *((f"{i}.png", "c") for i in range(2, 6))]
    )
    centres, _ = started(Pretrained("backbone.pth", {}), data=Dataset(listing, SecondImages(0)))
    assert torch.equal(centres[0], learner_of().head.centres[0])


def test_a_stop_ends_it_at_once() -> None:
    stop = Stop()
    stop.requested = True
    with pytest.raises(StoppedError):
        start_centres(learner_of(), DATA, EARLIER, stop, print, settle=as_it_is)
