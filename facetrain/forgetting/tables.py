"""Lines that name a person, in any table that a dataset may hold; and the same table without them.

Read a line at a time, so that a table of any length takes no memory: labels, groups, identities.csv, lists of
pairs, landmarks of the three kinds, and the lists that `dataset prepare` and `pack` leave.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from training.formats.labels import (
    FILE_COLUMNS,
    GROUPS_NAME,
    IDENTITY_COLUMNS,
    as_path,
    column,
)
from training.formats.lists import FIRST_COLUMNS, NO, SECOND_COLUMNS, YES
from training.jobs.forgotten import normal

SUFFIXES = (".csv", ".tsv", ".txt", ".lst")
_POINTS = 10  # numbers of five landmarks
_FILES = (*FILE_COLUMNS, "name_id", "folder")
_MARK = "\ufeff"  # that spreadsheets put before the first character
_LFW = re.compile(r"(\S.*?)\s+\d+\s+(\S.*?\s+)?\d+")


@dataclass(frozen=True)
class Named:
    """How tables may name a person: by the identity, or by a picture of theirs, as a path.

    files: the pictures, relative to their channel; folders: whether a picture's folder names the person.
    """

    identity: str
    files: frozenset[str] = frozenset()
    folders: bool = True

    def is_identity(self, cell: str) -> bool:
        return normal(cell) == normal(self.identity)

    def is_file(self, cell: str) -> bool:
        """Tables put the channel's folder, or a path of another machine, in front of a name."""
        parts = normal(as_path(cell)).strip("/").split("/")
        if self.folders and len(parts) > 1 and parts[-2] == normal(self.identity):
            return True
        starts = range(len(parts)) if cell.startswith("/") else (0, 1)
        return any("/".join(parts[start:]) in self.files for start in starts if start < len(parts))


@dataclass(frozen=True)
class Layout:
    """Which cells of a line are identities and which are paths; `head`: lines before the first row.

    count: the first line says how many rows follow ("rows"), or how many pairs of each kind ("pairs").
    """

    cells: Callable[[str], Sequence[str]]
    names: tuple[int, ...] = ()
    paths: tuple[int, ...] = ()
    head: int = 0
    count: str = ""


def layout_of(key: str, first: Sequence[str]) -> Layout | None:
    """How to read a table, told by its name and first two lines; None where nobody knows."""
    if not first:
        return None
    line = first[0].lstrip(_MARK).strip()
    base = PurePosixPath(key).name.lower()
    if "pairs" in base and base.endswith(".txt") and (line.split()[0].isdecimal() or _LFW.fullmatch(line)):
        head = 1 if all(cell.isdecimal() for cell in line.split()) else 0
        return Layout(_lfw, names=(0, 1), head=head, count="pairs" if head else "")
    if line.isdecimal():  # CelebA's landmarks: a count, perhaps a header
        header = len(first) > 1 and not any(map(_is_number, first[1].split()))
        return Layout(
            lambda text: text.rsplit(maxsplit=_POINTS)[:1], paths=(0,), head=1 + header, count="rows"
        )
    if line.split("\t")[0] in ("0", "1") and line.count("\t") in (2, 6, 16):  # InsightFace's lists
        return Layout(lambda text: [cell.strip() for cell in text.strip().split("\t")], (2,), (1,))
    return _columns(base, line)


def rows(layout: Layout, lines: Iterable[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Each line as it is, and its cells; of lines that are no rows, none."""
    seen = 0
    for line in lines:
        if not line.strip():
            yield line, ()
            continue
        seen += 1
        yield line, () if seen <= layout.head else layout.cells(line.lstrip(_MARK).strip("\r\n"))


def is_of(named: Named, layout: Layout, cells: Sequence[str]) -> bool:
    """Whether a line names the person or one of their pictures."""
    return any(named.is_identity(cells[i]) for i in layout.names if i < len(cells)) or any(
        named.is_file(cells[i]) for i in layout.paths if i < len(cells)
    )


def assignments(layout: Layout, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(file, identity) of each line of a table of labels."""
    if not (layout.names and layout.paths):
        return
    file, identity = layout.paths[0], layout.names[0]
    for _, cells in rows(layout, lines):
        if len(cells) > max(file, identity):
            yield as_path(cells[file]), cells[identity]


def without(named: Named, layout: Layout, lines: Iterable[str], removed: int, total: int) -> Iterator[str]:
    """The lines that do not name the person, as they are; a count in front is set right.

    removed, total: of rows, as counted before. A list of pairs loses its first line, for its folds are no
    longer of one size: all its lines are pairs then.
    """
    seen = 0
    for line, cells in rows(layout, lines):
        seen += bool(line.strip())
        if removed and layout.count and seen == 1 and line.strip():
            if layout.count == "rows":
                yield line.replace(line.lstrip(_MARK).strip(), str(total - removed), 1)
            continue
        if not (cells and is_of(named, layout, cells)):
            yield line


def count(named: Named, layout: Layout, lines: Iterable[str]) -> tuple[int, int]:
    """How many rows name the person, and how many there are."""
    removed = total = 0
    for _, cells in rows(layout, lines):
        total += bool(cells)
        removed += bool(cells) and is_of(named, layout, cells)
    return removed, total


def _columns(base: str, line: str) -> Layout | None:
    """By a header, or by what the first row looks like."""
    delimiter = max(",;\t", key=line.count) if re.search("[,;\t]", line) else " "

    def cells(text: str) -> Sequence[str]:
        if delimiter == " ":
            return text.split()
        try:
            found = next(csv.reader([text], delimiter=delimiter), [])
        except csv.Error:  # a cell that is longer than any name or path
            found = text.split(delimiter)
        return [cell.strip() for cell in found]

    first = cells(line)
    lower = [cell.lower() for cell in first]
    one, other = column(lower, FIRST_COLUMNS), column(lower, SECOND_COLUMNS)
    if one is not None and other is not None:
        return Layout(cells, paths=(one, other), head=1)
    files = tuple(place for place, name in enumerate(lower) if name in _FILES)
    identity = column(lower, IDENTITY_COLUMNS)
    identity = None if identity in files else identity
    if files or identity is not None:
        return Layout(cells, () if identity is None else (identity,), files, head=1)
    if len(first) in (3, 4) and lower[2] in (*YES, *NO):
        return Layout(cells, paths=(0, 1))
    if len(first) == 2 and "." in PurePosixPath(first[0]).name:
        return Layout(cells, names=(1,), paths=(0,))
    if len(first) == _POINTS + 1 and all(map(_is_number, first[1:])):
        return Layout(cells, paths=(0,))
    return Layout(cells, names=(0,), head=1) if base == GROUPS_NAME else None


def _lfw(text: str) -> Sequence[str]:
    """The names of one or two people; tabs part names of any characters."""
    cells = [cell.strip() for cell in text.split("\t")] if "\t" in text else text.split()
    if len(cells) in (3, 4) and cells[1].isdecimal() and cells[-1].isdecimal():
        return (cells[0], cells[2]) if len(cells) == 4 else cells[:1]
    match = _LFW.fullmatch(text.strip())
    return [name.strip() for name in match.groups() if name] if match else ()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
