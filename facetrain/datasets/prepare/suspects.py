"""Photos of one person that look the same."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from facetrain.datasets.prepare.journal import Row

# Of 256 bits. On att_faces copies at 3/4 of the size in poor JPEG differ by at most 22 (95 %: 19), different
# photos of one person, all against one wall, by at least 22.
ALIKE = 20


@dataclass(frozen=True)
class Suspect:
    """A photo to look at: near_duplicate of `other`, a photo, or mislabel, more like `other`, a person."""

    file: str
    kind: str
    other: str
    detail: str


def near_duplicates(rows: Sequence[Row], identities: Sequence[str]) -> list[Suspect]:
    """Each of the kept photos with the earlier one of the same person that it looks most like."""
    people: dict[str, list[Row]] = defaultdict(list)
    for row, identity in zip(rows, identities, strict=True):
        people[identity].append(row)
    return [suspect for own in people.values() for suspect in _within(own)]


def _within(rows: list[Row]) -> Iterator[Suspect]:
    looks = np.frombuffer(bytes.fromhex("".join(row.look for row in rows)), np.uint64).reshape(len(rows), -1)
    for place in range(1, len(rows)):
        bits = np.bitwise_count(looks[:place] ^ looks[place]).sum(1)
        nearest = int(bits.argmin())
        if bits[nearest] <= ALIKE:
            yield Suspect(
                rows[place].file, "near_duplicate", rows[nearest].file, f"{bits[nearest]} of 256 bits differ"
            )
