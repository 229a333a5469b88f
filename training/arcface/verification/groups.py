"""Does it work as well for everybody? The same threshold, group by group."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.arcface.verification.metrics import Scores
from training.formats.files import Present
from training.formats.labels import GROUPS_NAME, LABELS_NAME, read_groups
from training.formats.listing import Listing

FEWEST_PAIRS = 30  # of each kind: below that a rate moves by three per cent with a single pair

Pairs = NDArray[np.int64]


def read(folders: Iterable[Path], labels: Path | None = None) -> dict[str, str]:
    """The group of each file or identity: of the folders' groups.csv and labels.csv, and of another table."""
    tables = [folder / name for folder in folders for name in (GROUPS_NAME, LABELS_NAME)]
    tables += [labels] if labels else []
    return {key: group for table in tables if table.is_file() for key, group in read_groups(table).items()}


@dataclass(frozen=True)
class Groups:
    """Which group each image is in."""

    names: tuple[str, ...]
    of: NDArray[np.int64]  # (images,), an index into names; -1 where nothing is known

    @classmethod
    def of_images(cls, listing: Listing, named: Mapping[str, str]) -> "Groups | None":
        """From the groups of files or identities; None where no image is in one."""
        present = Present(listing.files)
        by_file = {present.match(key): group for key, group in named.items()}
        found = [
            by_file.get(file) or named.get(listing.identities[label], "")
            for file, label in zip(listing.files, listing.labels, strict=True)
        ]
        names = tuple(sorted(set(found) - {""}))
        index = {name: number for number, name in enumerate(names)}
        return cls(names, np.array([index.get(name, -1) for name in found])) if names else None


def by_group(
    groups: Groups, genuine: tuple[Pairs, Scores], impostor: tuple[Pairs, Scores], threshold: float
) -> dict[str, dict[str, Any]]:
    """Of the pairs within each group: counts, TAR, FAR and accuracy at the threshold of all.

    genuine, impostor: the pairs (n, 2) and their scores (n,). Accuracy weighs both kinds the same. A group
    with too few pairs of a kind gets the counts and a reason.
    """
    return {
        name: _figures(_within(groups, number, *genuine), _within(groups, number, *impostor), threshold)
        for number, name in enumerate(groups.names)
    }


def _within(groups: Groups, number: int, pairs: Pairs, scores: Scores) -> Scores:
    inside: Scores = scores[(groups.of[pairs] == number).all(axis=1)]
    return inside


def _figures(genuine: Scores, impostor: Scores, threshold: float) -> dict[str, Any]:
    counts = {"genuine": len(genuine), "impostor": len(impostor)}
    if min(counts.values()) < FEWEST_PAIRS:
        reason = f"a group needs {FEWEST_PAIRS} pairs of each kind, not {len(genuine)} and {len(impostor)}"
        return {**counts, "refused": reason}
    tar, far = float((genuine > threshold).mean()), float((impostor > threshold).mean())
    return {**counts, "tar": tar, "far": far, "accuracy": (tar + 1 - far) / 2}
