"""Photos of one person that look the same."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from facetrain.datasets.prepare.journal import Row

# Of 256 bits. On att_faces copies at 3/4 of the size in poor JPEG differ by at most 22 (95 %: 19), different
# photos of one person, all against one wall, by at least 22.
ALIKE = 20


@dataclass(frozen=True)
class Suspect:
    """Two photos of one person; bits: of 256, in which their looks differ."""

    file: str
    other: str
    bits: int


def near_duplicates(rows: Iterable[Row]) -> list[Suspect]:
    """Each kept photo with the first earlier one of the same person that looks like it."""
    people: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.kept:
            people[str(PurePosixPath(row.face).parent)].append(row)
    return [suspect for own in people.values() for suspect in _within(own)]


def _within(rows: list[Row]) -> Iterator[Suspect]:
    looks = np.frombuffer(bytes.fromhex("".join(row.look for row in rows)), np.uint64).reshape(len(rows), -1)
    for place in range(1, len(rows)):
        bits = np.bitwise_count(looks[:place] ^ looks[place]).sum(1)
        nearest = int(bits.argmin())
        if bits[nearest] <= ALIKE:
            yield Suspect(rows[place].file, rows[nearest].file, int(bits[nearest]))
