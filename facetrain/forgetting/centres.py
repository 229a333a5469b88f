"""classes.csv and head.safetensors without a person: the row of the table, and the centre of that number.

Classes are numbered 0 … n - 1 without a gap, so those behind the person's move up, in both files alike.
"""

import csv
import io
import itertools
import json
import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

TABLE, HEAD = "classes.csv", "head.safetensors"
LARGEST_TABLE = 512 * 2**20  # bytes; that of two million identities has about 60 million
_TENSOR = "centres"
_LARGEST_HEADER = 2**20
_LENGTH = struct.Struct("<Q")
_PIECE = 2**20


@dataclass(frozen=True)
class Table:
    """A classes.csv. numbers: the person's classes of its rows; rest: the table without, numbered anew."""

    rows: int
    numbers: frozenset[int]
    rest: bytes


def is_table(start: bytes) -> bool:
    """Whether a classes.csv that begins so is a model's; others have tables of this name, too."""
    return start.removeprefix(b"\xef\xbb\xbf").startswith(b"class,identity")


def read_table(data: bytes, is_person: Callable[[str], bool]) -> Table:
    """Raises ValueError where it is no table of class,identity."""
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    if not rows or rows[0][:2] != ["class", "identity"] or any(len(row) < 2 for row in rows[1:]):
        raise ValueError(f"{TABLE} has no columns class,identity")
    numbers = frozenset(int(row[0]) for row in rows[1:] if is_person(row[1]))
    stay = sorted((row for row in rows[1:] if int(row[0]) not in numbers), key=lambda row: int(row[0]))
    file = io.StringIO(newline="")
    csv.writer(file).writerows([rows[0], *([number, *row[1:]] for number, row in enumerate(stay))])
    return Table(len(rows) - 1, numbers, file.getvalue().encode())


@dataclass(frozen=True)
class Head:
    """A head.safetensors as it will be. pieces: what stays of the old one's rows, [start, end) in bytes."""

    front: bytes
    pieces: Sequence[tuple[int, int]]

    @property
    def size(self) -> int:
        """Of the whole new file, in bytes."""
        return len(self.front) + sum(end - start for start, end in self.pieces)

    def chunks(self, rows: BinaryIO) -> Iterator[bytes]:
        """The new file. rows: the old one behind its own front; it is read forward only."""
        yield self.front
        at = 0
        for start, end in self.pieces:
            for _ in read_exactly(rows, start - at):
                pass
            yield from read_exactly(rows, end - start)
            at = end


def read_front(file: BinaryIO) -> dict[str, Any]:
    """The front of a head.safetensors; the rows follow. Raises ValueError where it is none of ours."""
    (length,) = _LENGTH.unpack(b"".join(read_exactly(file, _LENGTH.size)))
    if length > _LARGEST_HEADER:
        raise ValueError(f"{HEAD} is no safetensors file of ours")
    header: dict[str, Any] = json.loads(b"".join(read_exactly(file, length)))
    tensors = {name: value for name, value in header.items() if name != "__metadata__"}
    if set(tensors) != {_TENSOR}:
        raise ValueError(f"{HEAD} holds something else than {_TENSOR}")
    return header


def rows_of(front: Mapping[str, Any]) -> int:
    return int(front[_TENSOR]["shape"][0])


def without(front: Mapping[str, Any], gone: Collection[int], rows: int) -> Head:
    """The file without some of its rows. Raises ValueError where it has not as many as its table."""
    if rows_of(front) != rows:
        raise ValueError(f"{HEAD} has {rows_of(front)} rows and {TABLE} {rows}")
    tensor = front[_TENSOR]
    width = tensor["data_offsets"][1] // rows
    left = rows - len(gone)
    shape = {"shape": [left, *tensor["shape"][1:]], "data_offsets": [0, left * width]}
    header = dict(front) | {_TENSOR: tensor | shape}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors lie aligned
    edges = [-1, *sorted(gone), rows]
    pieces = [
        ((before + 1) * width, after * width)
        for before, after in itertools.pairwise(edges)
        if after > before + 1
    ]
    return Head(_LENGTH.pack(len(text)) + text, pieces)


def read_exactly(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The next `size` bytes, a piece at a time. Raises EOFError where there are fewer."""
    while size:
        piece = file.read(min(size, _PIECE))
        if not piece:
            raise EOFError("a file is cut short")
        size -= len(piece)
        yield piece
