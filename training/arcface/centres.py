"""The class centres: how they are drawn, and which of them a step compares with, one span after the other."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from training.arcface.data.order import CENTRES, SAMPLE, generator

DEVIATION = 0.01  # of a fresh centre's entries: arcface_torch's
DRAWN_AT_ONCE = 1024


def draw(first: int, last: int, size: int, seed: int) -> Tensor:
    """The fresh centres of the classes first … last - 1, (n, size): the same on any number of ranks."""
    centres = torch.empty(last - first, size)
    for start in range(first - first % DRAWN_AT_ONCE, last, DRAWN_AT_ONCE):
        source = torch.Generator().manual_seed(int(generator(seed, CENTRES, start).integers(2**63)))
        some = torch.randn(DRAWN_AT_ONCE, size, generator=source) * DEVIATION
        begin, end = max(first, start), min(last, start + DRAWN_AT_ONCE)
        centres[begin - first : end - first] = some[begin - start : end - start]
    return centres


@dataclass(frozen=True)
class Span:
    """The rows first … last - 1 of this rank's, or those of them that `index` names, ascending."""

    first: int
    last: int
    index: Tensor | None = None

    def __len__(self) -> int:
        return self.last - self.first if self.index is None else len(self.index)

    def take(self, rows: Tensor) -> Tensor:
        """(k, …): a view, or a copy where the span has an index."""
        return rows[self.first : self.last] if self.index is None else rows[self.index]

    def put(self, rows: Tensor, values: Tensor) -> None:
        """Back to where `take` had them from."""
        if self.index is not None:
            rows[self.index] = values

    def where(self, chosen: Tensor) -> "Span":
        """Of its rows those that are chosen, (rows of the rank,) bool."""
        rows = (
            self.index
            if self.index is not None
            else torch.arange(self.first, self.last, device=chosen.device)
        )
        return Span(self.first, self.last, rows[chosen[rows]])

    def owners(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The images whose class is in the span, and the place of each one's class in it.

        labels: (n,), counted from this rank's first class, on the CPU: asking a GPU would wait for it. An
        index must name the classes of all images.
        """
        images = _within(labels, self.first, self.last).nonzero().squeeze(1)
        if self.index is None:
            return images, labels[images] - self.first
        return images, torch.searchsorted(self.index, labels[images].to(self.index.device))


@dataclass(frozen=True)
class Sampling:
    """Partial FC (An et al. 2022, arXiv:2203.15565): the images' own classes, and random other ones.

    Drawn anew at each step, as a function of seed, step and rank, from each stratum of rows by itself: what
    drawing takes in memory does not depend on the number of classes.
    """

    rate: float
    seed: int
    rank: int

    def spans(self, centres: Tensor, block: int, labels: Tensor, step: int) -> Iterator[Span]:
        """Of each stratum of this rank's centres about `block`; labels as `Span.owners` takes them."""
        stratum = max(block, int(block / self.rate))
        for first in range(0, len(centres), stratum):
            last = min(first + stratum, len(centres))
            own = torch.unique(labels[_within(labels, first, last)]) - first
            wanted = int(self.rate * last) - int(self.rate * first)
            if count := max(wanted, len(own)):
                seed = int(generator(self.seed, SAMPLE, step, self.rank, first).integers(2**63))
                yield Span(first, last, _some(last - first, count, own.to(centres.device), seed) + first)


def _some(rows: int, count: int, own: Tensor, seed: int) -> Tensor:
    """`count` of the rows 0 … rows - 1, ascending, `own` among them, on its device."""
    lots = torch.rand(rows, generator=torch.Generator(own.device).manual_seed(seed), device=own.device)
    lots[own] = 2.0
    return lots.topk(count).indices.sort().values


def _within(labels: Tensor, first: int, last: int) -> Tensor:
    return (labels >= first) & (labels < last)


def all_spans(rows: int, block: int) -> Iterator[Span]:
    """Every row, `block` at a time."""
    for first in range(0, rows, block):
        yield Span(first, min(first + block, rows))
