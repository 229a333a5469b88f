"""Lists of pairs as people have them: LFW's pairs.txt, and tables of two files and an answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.formats.errors import DataError
from training.formats.files import normal
from training.formats.labels import Rows, as_path, column, read_rows, read_text

_SAME_PERSON = re.compile(r"(.+?)\s+(\d+)\s+(\d+)")
_TWO_PEOPLE = re.compile(r"(.+?)\s+(\d+)\s+(.+?)\s+(\d+)")

FIRST_COLUMNS = ("file1", "file_1", "path1", "path_1", "image1", "image_1", "img1", "first", "a", "left")
SECOND_COLUMNS = ("file2", "file_2", "path2", "path_2", "image2", "image_2", "img2", "second", "b", "right")
SAME_COLUMNS = ("same", "issame", "is_same", "same_person", "match", "genuine", "label", "target")
FOLD_COLUMNS = ("fold", "split")
YES, NO = ("1", "true", "yes", "same", "genuine"), ("0", "-1", "false", "no", "different", "impostor")

Picture = tuple[str, int] | str  # (name, number) in pairs.txt, a path in a table


@dataclass(frozen=True)
class PairList:
    """Which pictures are compared, as a list names them."""

    first: tuple[Picture, ...]
    second: tuple[Picture, ...]
    same: NDArray[np.bool_]
    folds: NDArray[np.int64] | None = None

    def pictures(self) -> list[Picture]:
        """Each that is named, once."""
        return list(dict.fromkeys((*self.first, *self.second)))


# -- pairs.txt ---------------------------------------------------------------------------------------------


def read_pairs_txt(path: Path) -> PairList:
    """LFW's layout: a first line with folds and pairs of each kind, then `name i j` or `name i name j`.

    A first line of one count is a development file: no folds. Without such a line all lines are pairs.
    Pictures are (name, number). Raises DataError naming the line that cannot be understood, or where the
    first line promises another number of pairs.
    """
    (number, first), *rest = _lines(path)
    counts = first.split()
    if not (len(counts) in (1, 2) and all(count.isdecimal() for count in counts)):
        counts, rest = [], [(number, first), *rest]
    pairs = [_names(path, number, line) for number, line in rest]
    folds, each = ([1] * (2 - len(counts)) + [int(count) for count in counts]) if counts else (1, 0)
    if counts and len(pairs) != folds * 2 * each:
        raise DataError(
            f"{path.name}: its first line promises {folds} x 2 x {each} = {folds * 2 * each} pairs, and "
            f"{len(pairs)} follow: the file is cut short, or that line is wrong"
        )
    if not pairs:
        raise DataError(f"{path.name} names no pairs: see docs/evaluation.md for its layout")
    same = np.array([one[0] == other[0] for one, other in pairs])
    by_fold = np.arange(len(pairs)) // (2 * each) if folds > 1 else None
    return PairList(*_columns_of(pairs), same, by_fold)


def _lines(path: Path) -> list[tuple[int, str]]:
    lines = read_text(path, "UTF-8").split("\n")
    found = [(number, line.strip("\r\n")) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DataError(f"{path.name} is empty: see docs/evaluation.md for its layout")
    return found


def _names(path: Path, number: int, line: str) -> tuple[tuple[str, int], tuple[str, int]]:
    """Both pictures. Tabs part names of any characters; without tabs, names may hold blanks too."""
    cells: Sequence[str] = [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()
    if not _is_pair(cells):
        match = _TWO_PEOPLE.fullmatch(line.strip()) or _SAME_PERSON.fullmatch(line.strip())
        cells = match.groups() if match else ()
    if not _is_pair(cells):
        raise DataError(
            f"{path.name} line {number}: not a name and two numbers, nor two names with a number each"
        )
    other = cells[-2] if len(cells) == 4 else cells[0]
    return (normal(cells[0]), int(cells[1])), (normal(other), int(cells[-1]))


def _is_pair(cells: Sequence[str]) -> bool:
    return len(cells) in (3, 4) and cells[1].isdecimal() and cells[-1].isdecimal() and all(cells)


def _columns_of(pairs: Sequence[tuple[Picture, Picture]]) -> tuple[tuple[Picture, ...], tuple[Picture, ...]]:
    return tuple(first for first, _ in pairs), tuple(second for _, second in pairs)


# -- pairs.csv ---------------------------------------------------------------------------------------------


def read_pairs_table(path: Path) -> PairList:
    """Columns file1, file2, same and, where the set has folds, fold; with those names or in that order.

    Pictures are paths. Raises DataError naming the line that cannot be understood.
    """
    rows = read_rows(path, "file1,file2,same")
    (one, other, same, fold), body = _columns(path, rows)
    found, answers, folds = [], [], []
    for number, cells in body:
        if len(cells) <= max(one, other, same, -1 if fold is None else fold):
            raise DataError(f"{path.name} line {number}: {len(cells)} columns, fewer than the first line")
        if not cells[one] or not cells[other]:
            raise DataError(f"{path.name} line {number}: a file is missing")
        found.append((as_path(cells[one]), as_path(cells[other])))
        answers.append(_answer(path, number, cells[same]))
        folds.append("" if fold is None else cells[fold])
    if not found:
        raise DataError(f"{path.name} holds a header and nothing else: it needs lines of file1,file2,same")
    numbers = np.unique(folds, return_inverse=True)[1].astype(np.int64)
    return PairList(*_columns_of(found), np.array(answers), numbers if numbers.any() else None)


def _columns(path: Path, rows: Rows) -> tuple[tuple[int, int, int, int | None], Rows]:
    """Which columns are which, and the rows after the header, if there is one."""
    number, first = rows[0]
    lower = [cell.lower() for cell in first]
    one, other = column(lower, FIRST_COLUMNS), column(lower, SECOND_COLUMNS)
    same = column(lower, SAME_COLUMNS)
    if one is not None and other is not None and same is not None:
        return (one, other, same, column(lower, FOLD_COLUMNS)), rows[1:]
    if len(lower) in (3, 4) and lower[2] in (*YES, *NO):
        return (0, 1, 2, 3 if len(lower) == 4 else None), rows
    raise DataError(
        f"{path.name} line {number}: no columns for two files and whether they are one person: begin with a "
        f"header such as file1,file2,same"
    )


def _answer(path: Path, number: int, cell: str) -> bool:
    if cell.lower() not in (*YES, *NO):
        raise DataError(f'{path.name} line {number}: "{cell}" says neither 1 (same person) nor 0')
    return cell.lower() in YES
