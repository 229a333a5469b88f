"""A .rec and its .idx written anew without a person's records, as InsightFace's own tools lay them out.

Keys stay a row without gaps: record 0 says where the images end, and behind them there is a record for each
identity with its first key and the one after its last. Records are written by key, so that a walk through the
file finds the same keys as the .idx has.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from training.formats import records
from training.formats.records import MAGIC, Record

_TWO_LABELS = struct.Struct("<IfQQ2f")
_PIECE = 2**20
_HEAD, _IMAGE, _RANGE = "head", "image", "range"


def theirs(path: Path, place: str, numbers: frozenset[str]) -> tuple[list[int], int]:
    """The keys of the images of these classes, ascending; and how many images there are.

    Raises DataError where the file, or the .idx beside it, cannot be read.
    """
    found, images = [], 0
    for kind, record, _ in _by_key(path, place):
        images += kind == _IMAGE
        if kind == _IMAGE and records.number_of(record.label) in numbers:
            found.append(record.key)
    return found, images


def rewrite(path: Path, place: str, destination: Path, removed: Sequence[int]) -> None:
    """Writes `destination`, which is new, and the .idx beside it, without the images of these keys."""
    gone = set(removed)
    with (
        path.open("rb") as old,
        destination.open("xb") as new,
        destination.with_suffix(".idx").open("x", encoding="ascii") as index,
    ):
        numbered = False
        key = 0
        for kind, record, labels in _by_key(path, place):
            if kind == _HEAD:
                numbered = True
                last = _moved(int(labels[0]), removed)
                data = _labels(last, last + _ranges(path, place, removed))
            elif kind == _RANGE:
                first, after = (_moved(int(label), removed) for label in labels)
                if first == after:
                    continue
                data = _labels(first, after)
            elif record.key in gone:
                continue
            else:
                data = b""
            index.write(f"{key if numbered else record.key}\t{new.tell()}\n")
            key += 1
            new.write(data)
            if not data:
                _copy(old, new, record)


def index_of(path: Path, place: str, destination: Path) -> None:
    """The .idx of a .rec that `rewrite` wrote, by walking through it; no .idx lies beside it."""
    aside = destination.with_suffix(".new")  # one beside the .rec would be read
    with aside.open("x", encoding="ascii") as index:
        for record, _ in records.every(path, place):
            index.write(f"{record.key}\t{record.offset}\n")
    aside.rename(destination)


def _by_key(path: Path, place: str) -> Iterator[tuple[str, Record, tuple[float, ...]]]:
    """What each record is. Without a record 0 that says where they end, all are images."""
    end = None
    for record, labels in records.every(path, place):
        if record.key == 0 and labels:
            end = int(labels[0])
            yield _HEAD, record, labels
        elif end is not None and record.key >= end:
            if len(labels) == 2:
                yield _RANGE, record, labels
        else:
            yield _IMAGE, record, labels


def _ranges(path: Path, place: str, removed: Sequence[int]) -> int:
    """How many identities still have images."""
    found = (labels for kind, _, labels in _by_key(path, place) if kind == _RANGE)
    return sum(_moved(int(first), removed) < _moved(int(after), removed) for first, after in found)


def _moved(key: int, removed: Sequence[int]) -> int:
    """The key that an image gets when those removed before it close up."""
    return key - bisect_left(removed, key)


def _labels(first: int, second: int) -> bytes:
    data = _TWO_LABELS.pack(2, 0.0, 0, 0, first, second)
    return MAGIC + struct.pack("<I", len(data)) + data


def _copy(old: BinaryIO, new: BinaryIO, record: Record) -> None:
    """The chunks of a record as they are, and zeros to a multiple of four."""
    old.seek(record.offset)
    left = record.size
    while left:
        piece = old.read(min(_PIECE, left))
        new.write(piece)
        left -= len(piece)
    new.write(bytes(-record.size % 4))
