"""The class centres of a run that starts from trained weights: known identities keep theirs.

A new identity's centre is the mean direction of its images' embeddings ("imprinted weights": Qi, Brown and
Lowe 2018, arXiv:1712.07136). A random one would first pull a trained network apart.

Every centre gets the length that a fresh one has. The loss does not see lengths, but a step turns a centre by
an angle that goes with 1 / length²: so the learning rate means the same as in any other run, and the same
for known and for new identities, however long the earlier run was.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from training.arcface.backbones import EMBEDDING_SIZE
from training.arcface.centres import DEVIATION
from training.arcface.data.store import Dataset
from training.arcface.head import MarginHead
from training.arcface.learner import Learner, to_input
from training.arcface.weights import Pretrained
from training.container.stopping import Stop

MOST_IMAGES = 16  # of one identity
MOST_IMAGES_OF_ALL = 500_000  # of one rank: beyond it, fewer of each identity, but at least one
BATCH = 128
LENGTH = DEVIATION * math.sqrt(EMBEDDING_SIZE)  # of a fresh centre

Indices = NDArray[np.int64]


def start_centres(
    learner: Learner,
    dataset: Dataset,
    pretrained: Pretrained,
    stop: Stop,
    log: Callable[[str], None],
    *,
    settle: Callable[[], None],
) -> None:
    """Sets every rank's own rows of the head, from the weights that the learner's network has now.

    settle: sets BatchNorm's statistics to those of the run's own images, under which it will train; here they
    hold for as long as images are embedded. The outcome depends on the data and the weights alone. Raises
    StoppedError when told to stop.
    """
    head, identities = learner.head, dataset.listing.identities
    known = _known(pretrained, identities)
    log(f"fine_tuning identities known={len(known)} new={len(identities) - len(known)}")
    mine = range(head.first, head.last)
    if carried := [number for number in mine if number in known]:
        assert pretrained.centres is not None  # some are known
        _set(head, carried, pretrained.centres[[known[number] for number in carried]])
    chosen = _choose(dataset.listing.labels, [number for number in mine if number not in known])
    with _settled(learner.shown, settle):
        for images in _batches(chosen):
            stop.check()
            _set(head, *_means(learner, dataset, images))


@contextmanager
def _settled(network: nn.Module, settle: Callable[[], None]) -> Iterator[None]:
    """Afterwards the statistics are as before: the first verification measures the weights as they came."""
    before = [buffer.clone() for buffer in network.buffers()]
    settle()
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(network.buffers(), before, strict=True):
                buffer.copy_(value)


def _known(pretrained: Pretrained, identities: Sequence[str]) -> dict[int, int]:
    """For each class whose identity has a centre there: that centre's row."""
    rows = {name: row for row, name in enumerate(pretrained.identities)}
    return {number: rows[name] for number, name in enumerate(identities) if name in rows}


def _choose(labels: Indices, classes: Sequence[int]) -> list[Indices]:
    """Images of each of the classes, spread evenly over what it has."""
    most = min(MOST_IMAGES, max(1, MOST_IMAGES_OF_ALL // max(1, len(classes))))
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(
        labels[order], np.array([[number, number + 1] for number in classes]).reshape(-1, 2)
    )
    return [
        order[first + np.arange(count := min(most, last - first)) * (last - first) // count]
        for first, last in bounds.tolist()
    ]


def _batches(chosen: Sequence[Indices]) -> Iterator[Indices]:
    """The images of several whole classes at a time."""
    waiting: list[Indices] = []
    for images in chosen:
        waiting.append(images)
        if sum(map(len, waiting)) >= BATCH:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _means(learner: Learner, dataset: Dataset, images: Indices) -> tuple[list[int], Tensor]:
    """The classes of these images, and the mean direction (classes, d) of each."""
    labels = dataset.listing.labels
    pixels, got = dataset.images.take(images)
    right = labels[got] == labels[images]  # an unreadable image is stood in for by the next one
    embeddings = learner.embed(to_input(pixels[right], learner.world.device))
    classes, places = np.unique(labels[got[right]], return_inverse=True)
    sums = embeddings.new_zeros(len(classes), embeddings.shape[1])
    return classes.tolist(), sums.index_add_(0, torch.from_numpy(places).to(sums.device), embeddings)


@torch.no_grad()
def _set(head: MarginHead, classes: Sequence[int], directions: Tensor) -> None:
    """A direction of length 0 is none: that class keeps the centre that it was drawn."""
    rows = torch.tensor(classes, dtype=torch.int64, device=head.centres.device) - head.first
    directions = directions.to(head.centres)
    some = directions.norm(dim=1) > 0
    head.centres[rows[some]] = normalize(directions[some]) * LENGTH
