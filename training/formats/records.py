"""InsightFace's train.rec and train.idx, read in place.

A .rec is a row of chunks: u32 magic, u32 with the kind in its upper three bits and the length in the rest,
data, zeros to a multiple of four. Kind 0 is a whole record; 1, 2, 3 are the first, a middle and the last
part of one whose data held the magic number, which joins the parts again. A record is a header (u32 flag,
f32 label, u64 id, u64 id), `flag` float32 labels, then the image. Record 0 with a flag says where the images
end: they are the keys 1 to label[0] - 1. The .idx has lines of key, tab, offset, in any order. Source:
MXNet's recordio.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.formats.errors import DataError, UnreadableError
from training.jobs.images import RECORD_SUFFIX

SUFFIX = RECORD_SUFFIX
HEAD_BYTES = 8  # of a chunk: magic, and kind with length
MAGIC = struct.pack("<I", 0xCED7230A)
_HEADER = struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_LENGTH = (1 << 29) - 1


def image(record: bytes) -> bytes:
    """The image of a record that begins with its first chunk. Raises UnreadableError."""
    data = _joined(record)
    if len(data) < _HEADER.size:
        raise UnreadableError("is a record without an image")
    return data[_HEADER.size + 4 * _labels_after(data) :]


def _labels_after(data: bytes) -> int:
    flag: int = _HEADER.unpack_from(data)[0]
    return flag


def _joined(record: bytes) -> bytes:
    parts, position = [], 0
    while position + 8 <= len(record):
        if record[position : position + 4] != MAGIC:
            raise UnreadableError("is no record")
        kind, length = _kind_and_length(record[position + 4 : position + 8])
        parts.append(record[position + 8 : position + 8 + length])
        position += 8 + length + -length % 4
        if kind in (_WHOLE, _LAST):
            break
    return MAGIC.join(parts)


def data_after(head: bytes) -> int | None:
    """How many bytes of data follow `head`, a chunk's first eight; None where no chunk begins so."""
    return _kind_and_length(head[4:])[1] if head[:4] == MAGIC else None


def _kind_and_length(word: bytes) -> tuple[int, int]:
    (value,) = struct.unpack("<I", word)
    return value >> 29, value & _LENGTH


@dataclass(frozen=True)
class Record:
    """One image: whose it is by number, and where its chunks are."""

    key: int
    label: float
    offset: int
    size: int


def scan(path: Path, names: Mapping[str, str], channel: str) -> Iterator[tuple[Record, str]]:
    """The images of a .rec, by key, and their identities.

    Raises DataError naming the file where it is cut short, or .rec and .idx disagree.
    """
    place = f"channels.{channel}: {path.name}"
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for record in _images(_File(descriptor, path.stat().st_size, place), path.with_suffix(".idx")):
            number = number_of(record.label)
            if names and number not in names:
                raise DataError(f"{place}: record {record.key} is of class {number}, which has no name")
            yield record, names.get(number, number)
    finally:
        os.close(descriptor)


def number_of(label: float) -> str:
    """How a class is written: 17, or 0.5 where a label is no whole number."""
    return f"{label:g}" if label % 1 else str(int(label))


def every(path: Path, place: str) -> Iterator[tuple[Record, tuple[float, ...]]]:
    """All records by key, those without an image too, and the first two of their labels where they have some.

    Raises DataError as `scan` does.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        file = _File(descriptor, path.stat().st_size, place)
        offsets = _offsets(file, path.with_suffix(".idx"))
        for key in sorted(offsets):
            yield file.record(key, offsets[key])
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class _File:
    """An open .rec; `place` is how a message names it."""

    descriptor: int
    size: int
    place: str

    def record(self, key: int, offset: int) -> tuple[Record, tuple[float, ...]]:
        """The record at an offset, and the labels in it."""
        head = os.pread(self.descriptor, 8 + _HEADER.size + 8, offset)
        length = self._length(key, offset)
        if len(head) < 8 + _HEADER.size:
            raise self.damaged(key, offset, "is too short")
        flag, label, _, _ = _HEADER.unpack_from(head, 8)
        labels = (label,)
        if flag:  # the first two: no more are of use
            count = min(flag, 2)
            if len(head) < 8 + _HEADER.size + 4 * count:
                raise self.damaged(key, offset, "is too short")
            labels = struct.unpack_from(f"<{count}f", head, 8 + _HEADER.size)
        return Record(key, labels[0], offset, length), labels if flag else ()

    def _length(self, key: int, offset: int) -> int:
        """Of all chunks of a record, without the last one's padding."""
        position = offset
        while True:
            word = os.pread(self.descriptor, 8, position)
            if len(word) < 8 or word[:4] != MAGIC:
                raise self.damaged(key, position, "begins with no magic number")
            kind, length = _kind_and_length(word[4:])
            end = position + 8 + length
            if end > self.size:
                raise DataError(
                    f"{self.place} is cut short: record {key} ends at byte {end:,} of {self.size:,}: "
                    f"upload it again"
                )
            if kind in (_WHOLE, _LAST):
                return end - offset
            position = end + -length % 4

    def damaged(self, key: int, offset: int, how: str) -> DataError:
        return DataError(
            f"{self.place}: record {key} at byte {offset:,} {how}: the file is damaged, or its .idx belongs "
            f"to another: upload both again"
        )

    def offsets(self) -> dict[int, int]:
        """Without an .idx: by walking the whole file; keys are places in the row."""
        found: dict[int, int] = {}
        position = 0
        while position < self.size:
            found[len(found)] = position
            position += self._length(len(found) - 1, position)
            position += -position % 4
        return found


def _offsets(file: _File, index: Path) -> dict[int, int]:
    found = _read_index(index, file) if index.is_file() else file.offsets()
    if not found:
        raise DataError(f"{file.place} is empty: upload it again")
    return found


def _images(file: _File, index: Path) -> Iterator[Record]:
    offsets = _offsets(file, index)
    keys = sorted(offsets)
    if keys[0] == 0:
        _, labels = file.record(0, offsets[0])
        if labels:  # where the images end, not an image
            last = int(labels[0])
            keys = list(range(1, last))
            if missing := [key for key in keys if key not in offsets]:
                raise DataError(
                    f"{file.place}: {len(missing)} of its {len(keys)} images have no line in {index.name} "
                    f"(the first is {missing[0]}): upload both again"
                )
    for key in keys:
        yield file.record(key, offsets[key])[0]


def _read_index(path: Path, file: _File) -> dict[int, int]:
    found: dict[int, int] = {}
    for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        cells = line.split()
        if len(cells) != 2 or not all(cell.isascii() and cell.isdigit() for cell in cells):
            raise DataError(f"{path.name} line {number}: not a key and an offset: upload it again")
        key, offset = int(cells[0]), int(cells[1])
        if key in found or offset >= file.size:
            why = "has the key of a line above" if key in found else f"points behind the end of {file.place}"
            raise DataError(f"{path.name} line {number} {why}: upload both files again")
        found[key] = offset
    return found
