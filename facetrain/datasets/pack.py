"""Any dataset that the trainer reads, to shards: shuffled, with an index, in memory for its names alone."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facetrain.datasets.aside import new_folder
from facetrain.datasets.index import LEFT_OUT_NAME, Index, table, write_index
from facetrain.datasets.keys import Keys, shuffled
from facetrain.datasets.shard_writer import ShardWriter
from facetrain.datasets.signatures import image_suffix
from facetrain.datasets.source import read_source, refuse_link
from facetrain.errors import InputError
from training.formats.errors import UnreadableError
from training.formats.listing import Listing
from training.formats.names import NAMES_TABLE

MEGABYTE = 10**6
SHARD_MB, SHARD_MB_LIMIT = 192, 256
SHOWN = 10  # of those left out, on the screen


@dataclass(frozen=True)
class Outcome:
    """What was packed, and what was not."""

    index: Index
    left_out: int
    first_left_out: Sequence[tuple[str, str]]  # a few of them: file, reason
    notes: Sequence[str]  # what the reader said of the source


def pack(
    source: Path,
    destination: Path,
    labels: Path | None = None,
    *,
    seed: int = 0,
    shard_bytes: int = SHARD_MB * MEGABYTE,
    begun: Callable[[int], None] = lambda _: None,
    packed: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Writes shards, identities.csv and, last of all, the index; `destination` is new, or an empty folder.

    begun: hears how many images there are; packed: of each that is done with. Images are copied byte for
    byte and not decoded; what is empty, cannot be read or begins as no image does is left out and listed.
    Raises InputError for what cannot be packed, OperationError where the disk is full: then, and after
    Ctrl-C, nothing is left of it.
    """
    _refuse_nesting(source, destination)
    with new_folder(destination) as folder:
        found = read_source(source, labels)
        names = _Numbers(found)
        begun(len(found))
        writer, present = ShardWriter(folder, shard_bytes), np.zeros(len(found.identities), bool)
        keys, reader = Keys(found), found.reader()
        leave_out = _LeftOut(folder / LEFT_OUT_NAME)
        with writer:
            for image in shuffled(found, seed).tolist():
                try:
                    refuse_link(found, image)
                    data = reader.read(image)
                    key, suffix = keys[image]
                    suffix = image_suffix(data, suffix)
                except UnreadableError as error:
                    leave_out(found.files[image], str(error))
                else:
                    label = int(found.labels[image])
                    present[label] = True
                    writer.add(key, suffix, data, str(names.numbers[label]))
                packed(1)
        if not writer.written:
            raise InputError.because("SRC", _none_left(leave_out))
        names.write(folder / NAMES_TABLE, present)
        index = Index(
            seed=seed,
            images=sum(shard.images for shard in writer.written),
            identities=int(present.sum()),
            bytes=sum(shard.bytes for shard in writer.written),
            shards=tuple(writer.written),
            tables=(table(folder, NAMES_TABLE),),
        )
        write_index(folder, index)
    return Outcome(index, leave_out.count, leave_out.first, found.notes)


class _Numbers:
    """The class number of each identity: its own name where all are numbers, as a .rec has them."""

    def __init__(self, found: Listing):
        self.names = [name.strip() for name in found.identities]
        if len(set(self.names)) < len(self.names) or "" in self.names:
            raise InputError.because(
                "SRC", "two identities differ only by blanks around their names, or one is blank: rename it"
            )
        plain = all(name.isascii() and name.isdigit() and str(int(name)) == name for name in self.names)
        self.numbers = [int(name) for name in self.names] if plain else list(range(len(self.names)))

    def write(self, path: Path, present: NDArray[np.bool_]) -> None:
        """Only those that have an image."""
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("class", "identity"))
            rows.writerows((self.numbers[i], self.names[i]) for i in np.flatnonzero(present).tolist())


class _LeftOut:
    """Writes a table of what is left out, as it is met; the table is there once there is something."""

    def __init__(self, path: Path):
        self.path, self.count = path, 0
        self.first: list[tuple[str, str]] = []

    def __call__(self, file: str, reason: str) -> None:
        new = not self.count
        with self.path.open("a", encoding="utf-8", errors="backslashreplace", newline="") as table:
            rows = csv.writer(table, lineterminator="\n")
            rows.writerows([("file", "reason")] * new + [(file, reason)])
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append((file, reason))


def _refuse_nesting(source: Path, destination: Path) -> None:
    """Raises InputError where the shards would lie among the images that they hold."""
    if source.is_dir() and destination.resolve().is_relative_to(source.resolve()):
        raise InputError.because("DEST", f"{destination} lies within {source}: name a folder beside it")


def _none_left(left_out: _LeftOut) -> str:
    file, reason = left_out.first[0]
    return f"none of its {left_out.count} images can be packed: {file} {reason}, for one"
