"""Tables of five landmarks a face: CelebA's list, CSV with a header, InsightFace's lists.

A table is only looked up by the names of photos that are there; a path in it opens nothing.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from training.formats.alignment import Points
from training.formats.errors import DataError
from training.formats.files import normal
from training.formats.labels import FILE_COLUMNS, as_path, cells_of, read_text

NUMBERS = 10
_FILES = (*FILE_COLUMNS, "name_id")  # VGGFace2's spelling
# How headers call the five points, without the mark of the coordinate; small letters and digits only.
_POINTS: tuple[tuple[str, ...], ...] = (
    ("lefteye", "eyeleft", "leye", "eyel", "le"),
    ("righteye", "eyeright", "reye", "eyer", "re"),
    ("nose", "nosetip", "n"),
    ("leftmouth", "mouthleft", "lmouth", "mouthl", "leftmouthcorner", "mouthleftcorner", "lm"),
    ("rightmouth", "mouthright", "rmouth", "mouthr", "rightmouthcorner", "mouthrightcorner", "rm"),
)
_NUMBERED = ("", "p", "pt", "point", "kp", "kps", "lm", "lmk", "landmark", "landmarks", "l")


@dataclass(frozen=True)
class Face:
    """What a table says of one photo: its points, or that the whole picture is an aligned face."""

    points: Points | None


class Landmarks:
    """Faces by the names that a table gives their photos."""

    def __init__(self, faces: Mapping[str, Face]):
        self.faces = faces

    def __len__(self) -> int:
        return len(self.faces)

    def name_of(self, photo: str) -> str | None:
        """The table's name for a photo, a path with forward slashes; None where the table lacks it.

        The path itself; without its suffix; else the last two parts of it, else the last, where no two
        names of the table end so: tables often hold paths of another machine, or bare file names.
        """
        path = PurePosixPath(normal(photo))
        for name in (path.as_posix(), path.with_suffix("").as_posix()):
            if name in self.faces:
                return name
        for parts in (2, 1):
            tail = "/".join(path.parts[-parts:])
            if found := self._by_tail.get(tail) or self._by_tail.get(
                str(PurePosixPath(tail).with_suffix(""))
            ):
                return found
        return None

    def missing(self, photos: Iterable[str]) -> list[str]:
        """The names of the table that are none of the photos."""
        return sorted(self.faces.keys() - {self.name_of(photo) for photo in photos})

    @cached_property
    def _by_tail(self) -> dict[str, str | None]:
        """None for an end that several names share."""
        found: dict[str, str | None] = {}
        for name in self.faces:
            parts = name.split("/")
            for tail in {"/".join(parts[-2:]), parts[-1]}:
                found[tail] = None if tail in found else name
        return found


def read_landmarks(path: Path) -> Landmarks:
    """Reads a table of any of the three kinds, told apart by its first lines.

    Raises DataError naming the line that cannot be understood, or that names a photo a second time.
    """
    lines = [(number, line) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path.name} is empty: it needs lines of a file and {NUMBERS} numbers")
    first = lines[0][1].strip()
    if first.isdecimal():
        rows = _celeba(path, int(first), lines[1:])
    elif first.split("\t")[0] in ("0", "1") and first.count("\t") in (2, 6, 16):
        rows = _insightface(path, lines)
    else:
        rows = _table(path, lines)
    faces: dict[str, Face] = {}
    for number, name, face in rows:
        if faces.setdefault(name, face) is not face:
            raise DataError(f'{path.name} line {number}: "{name}" already has landmarks above: keep one line')
    if not faces:
        raise DataError(f"{path.name} holds a header and nothing else: it needs lines of landmarks")
    return Landmarks(faces)


_Lines = Sequence[tuple[int, str]]
_Rows = Iterator[tuple[int, str, Face]]


def _celeba(path: Path, count: int, lines: _Lines) -> _Rows:
    """A count, a header of ten names, then a file and ten numbers a line, parted by blanks."""
    header = bool(lines) and not any(_is_number(cell) for cell in lines[0][1].split())
    body = lines[1:] if header else lines
    if len(body) != count:
        raise DataError(f"{path.name}: its first line promises {count} faces, and {len(body)} follow")
    for number, line in body:
        cells = line.rsplit(maxsplit=NUMBERS)
        yield number, _name(cells[0]), Face(_points(path, number, cells[1:]))


def _insightface(path: Path, lines: _Lines) -> _Rows:
    """aligned, path, label; then left, top, right, bottom; then x1 … x5, y1 … y5. All parted by tabs.

    As `parse_lst_line` of InsightFace's recognition code reads it. aligned 1: the picture is a face already.
    """
    for number, line in lines:
        cells = [cell.strip() for cell in line.strip().split("\t")]
        if len(cells) not in (3, 7, 17) or cells[0] not in ("0", "1"):
            raise DataError(
                f"{path.name} line {number}: not an InsightFace line (aligned, path, label, 4 numbers of the "
                f"box, {NUMBERS} of the landmarks, parted by tabs)"
            )
        if cells[0] == "1":
            yield number, _name(cells[1]), Face(None)
        elif len(cells) == 17:
            points = _points(path, number, cells[7:]).ravel()
            yield number, _name(cells[1]), Face(points.reshape(2, 5).T)


def _table(path: Path, lines: _Lines) -> _Rows:
    number, first = lines[0]
    delimiter = max(",;\t", key=first.count) if re.search("[,;\t]", first) else " "
    header = cells_of(first, delimiter, f"{path.name} line {number}")
    columns = _columns(header)
    if columns is not None:
        lines = lines[1:]
    elif len(header) == NUMBERS + 1 and all(map(_is_number, header[1:])):
        columns = list(range(NUMBERS + 1))
    else:
        raise DataError(
            f"{path.name} line {number}: no columns for a file and five landmarks: begin with a header "
            "such as file,lefteye_x,lefteye_y,righteye_x,righteye_y,nose_x,nose_y,"
            "leftmouth_x,leftmouth_y,rightmouth_x,rightmouth_y"
        )
    for number, line in lines:
        cells = cells_of(line, delimiter, f"{path.name} line {number}")
        if len(cells) <= max(columns):
            raise DataError(f"{path.name} line {number}: {len(cells)} columns, fewer than the first line")
        name = _name(cells[columns[0]])
        yield number, name, Face(_points(path, number, [cells[column] for column in columns[1:]]))


def _columns(header: Sequence[str]) -> list[int] | None:
    """Where the file and x1, y1, … x5, y5 are; None where the header does not say."""
    lower = [cell.lower() for cell in header]
    file = next((lower.index(name) for name in _FILES if name in lower), None)
    plain = [re.sub("[^a-z0-9]", "", cell) for cell in lower]
    for first in (1, 0):
        ways = [
            (*names, *(f"{word}{first + place}" for word in _NUMBERED)) for place, names in enumerate(_POINTS)
        ]
        found = [_column(plain, names, axis) for names in ways for axis in "xy"]
        places = [place for place in found if place is not None]
        if file is not None and len(places) == NUMBERS:
            return [file, *places]
    return None


def _column(header: Sequence[str], names: Sequence[str], axis: str) -> int | None:
    spellings = [spelling for name in names for spelling in (f"{name}{axis}", f"{axis}{name}")]
    return next((header.index(spelling) for spelling in spellings if spelling in header), None)


def _points(path: Path, number: int, cells: Sequence[str]) -> Points:
    values = [float(cell) for cell in cells if _is_number(cell)]
    if len(cells) != NUMBERS or len(values) != NUMBERS:
        raise DataError(f"{path.name} line {number}: {len(values)} numbers where {NUMBERS} are needed")
    return np.array(values).reshape(5, 2)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _name(cell: str) -> str:
    return normal(as_path(cell)).lstrip("/")
