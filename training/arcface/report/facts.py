"""What the report and the model card are made from: plain values, gathered once when training ends."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from training.arcface.data.store import Images
from training.arcface.settings import Settings
from training.container.about import About

Figures = Mapping[str, Any]


class SetScores(Protocol):
    """One verification set as it was scored; `verification` has it."""

    @property
    def name(self) -> str: ...
    @property
    def genuine(self) -> NDArray[np.floating[Any]]:
        """Cosine similarities of pairs of one person, (n,)."""

    @property
    def impostor(self) -> NDArray[np.floating[Any]]:
        """Of two people, (m,)."""

    @property
    def genuine_pairs(self) -> NDArray[np.integer[Any]]:
        """Indices into `images`, (n, 2)."""

    @property
    def impostor_pairs(self) -> NDArray[np.integer[Any]]: ...
    @property
    def images(self) -> Images: ...


@dataclass(frozen=True)
class DataFacts:
    """What was trained and verified on, in numbers: no names of files or people."""

    images: int
    counts: NDArray[np.int64]  # images of each identity that was trained on, (identities,)
    held_out_images: int = 0
    held_out_identities: int = 0
    resized: int = 0
    unreadable: int = 0
    reason: str = ""  # why nobody was held out
    aligned_by: str = ""  # landmarks or detector, where the job aligned photos

    @property
    def identities(self) -> int:
        return len(self.counts)


@dataclass(frozen=True)
class Facts:
    """A finished job. figures: what metrics.json holds. curve: {step, loss, lr, images_per_second}, by step.

    hardware: the run's first log line, key=value by key=value.
    """

    about: About
    settings: Settings
    data: DataFacts
    figures: Figures
    curve: Sequence[Mapping[str, float]] = ()
    sets: Sequence[SetScores] = ()
    hardware: str = ""

    @property
    def verifications(self) -> Sequence[Figures]:
        found: Sequence[Figures] = self.figures.get("history", {}).get("verifications", ())
        return found

    def each_set(self) -> Iterator[tuple[SetScores, Figures]]:
        """Every set with its own figures: the only one's are the whole evaluation's."""
        for scored in self.sets:
            yield scored, self.figures.get("sets", {}).get(scored.name, self.figures)

    def machine(self) -> dict[str, str]:
        """The hardware line as names and values."""
        words = [word.partition("=") for word in self.hardware.split()]
        return {name: value for name, equals, value in words if equals}
