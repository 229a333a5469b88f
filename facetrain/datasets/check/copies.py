"""Images that are there more than once: in one identity, in several, in training and validation."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facetrain.datasets.check import looks
from facetrain.datasets.check.parallel import in_threads
from facetrain.datasets.check.scan import Scanned
from facetrain.datasets.check.sources import Part
from training.formats.decode import Pixels, decode
from training.formats.errors import UnreadableError
from training.formats.places import Indices


@dataclass(frozen=True)
class Images:
    """The images of all parts, numbered through.

    readable: (n,); digest, look: (n, 2); part: (n,), the number of the part; label: (n,), of training images
    the identity's number, else -1.
    """

    parts: tuple[Part, ...]
    starts: Indices
    readable: NDArray[np.bool_]
    digest: NDArray[np.uint64]
    look: NDArray[np.uint64]
    part: Indices
    label: Indices

    @classmethod
    def of(cls, parts: list[Part], scanned: list[Scanned]) -> "Images":
        """The first part is the training images."""
        counts = [len(part.files) for part in parts]
        listing = parts[0].listing
        label = np.full(sum(counts), -1, np.int64)
        if listing is not None:
            label[: counts[0]] = listing.labels
        return cls(
            tuple(parts),
            np.cumsum([0, *counts[:-1]]),
            np.concatenate([one.readable() for one in scanned]),
            np.concatenate([one.digest for one in scanned]),
            np.concatenate([one.look for one in scanned]),
            np.repeat(np.arange(len(parts)), counts),
            label,
        )

    def place(self, index: int) -> tuple[Part, int]:
        """The part of an image, and its number there."""
        part = int(self.part[index])
        return self.parts[part], index - int(self.starts[part])

    def pixels(self, index: int) -> Pixels:
        """Raises UnreadableError where the file has changed since."""
        part, number = self.place(index)
        return decode(part.source.read(number))[0]


@dataclass(frozen=True)
class Runs:
    """Readable images that are there twice and more, equal ones side by side.

    order: (m,) numbers of images; start: (k,) where in it each run begins.
    """

    order: Indices
    start: Indices

    @classmethod
    def of(cls, images: Images, chosen: NDArray[np.bool_]) -> "Runs":
        used = np.flatnonzero(chosen & images.readable)
        digest = images.digest[used]
        order = used[np.lexsort((used, digest[:, 1], digest[:, 0]))]
        ordered = images.digest[order]
        first = np.ones(len(order), bool)
        first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        length = np.diff(np.append(np.flatnonzero(first), len(order)))
        several = length[length > 1]
        return cls(order[np.repeat(length > 1, length)], np.cumsum(several) - several)

    def __len__(self) -> int:
        return len(self.start)

    def copies(self) -> int:
        """Images beyond the first of each run."""
        return len(self.order) - len(self.start)

    def mixed(self, of_image: Indices) -> NDArray[np.bool_]:
        """(k,): which runs have images with different values of `of_image`, (n,)."""
        if not len(self):
            return np.zeros(0, bool)
        values = of_image[self.order]
        mixed: NDArray[np.bool_] = np.minimum.reduceat(values, self.start) != np.maximum.reduceat(
            values, self.start
        )
        return mixed

    def take(self, chosen: NDArray[np.bool_], most: int) -> Iterator[Indices]:
        """The images of each chosen run, of as many as `most` runs."""
        ends = np.append(self.start[1:], len(self.order))
        for run in np.flatnonzero(chosen)[:most]:
            yield self.order[self.start[run] : ends[run]]


@dataclass(frozen=True)
class Alike:
    """Pairs whose pixels are nearly, but not quite, the same. left_out: proposals that were not looked at."""

    pairs: list[tuple[int, int]]
    left_out: int


def alike(images: Images) -> Alike:
    """Pairs with a training image in each."""
    firsts = _first_of_each(images)
    proposed = firsts[looks.proposals(images.look[firsts])]
    proposed = proposed[(images.part[proposed] == 0).any(axis=1)]
    asked = proposed[: looks.MOST_PAIRS]

    def same(pair: Indices) -> bool:
        try:
            one, other = (images.pixels(int(index)) for index in pair)
        except UnreadableError:
            return False
        return looks.difference(one, other) <= looks.MOST_DIFFERENCE

    answers = list(in_threads(same, asked))
    pairs = [(int(a), int(b)) for (a, b), yes in zip(asked, answers, strict=True) if yes]
    return Alike(pairs, len(proposed) - len(asked))


def _first_of_each(images: Images) -> Indices:
    """The numbers of readable images, without the further copies of one."""
    runs = Runs.of(images, images.readable)
    firsts = images.readable.copy()
    firsts[runs.order] = False
    firsts[runs.order[runs.start]] = True
    return np.flatnonzero(firsts)
