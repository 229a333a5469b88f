"""A table of files and identities, as people have them: CSV, TSV or blanks; with or without a header."""

import csv
from collections.abc import Sequence
from pathlib import Path

from training.formats.errors import DataError

FILE_COLUMNS = ("file", "path", "image", "filename", "file_name", "image_path", "image_id", "img")
IDENTITY_COLUMNS = (
    "identity",
    "label",
    "id",
    "identity_id",
    "person",
    "person_id",
    "subject",
    "class",
    "name",
)
GROUP_COLUMNS = ("group",)
LABELS_NAME = "labels.csv"
GROUPS_NAME = "groups.csv"
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")

Rows = list[tuple[int, list[str]]]  # line number, cells


def read_labels(path: Path) -> dict[str, str]:
    """The identity of each file, files with forward slashes and without a leading "./".

    Raises DataError naming the line where the table cannot be understood or contradicts itself.
    """
    file_column, identity_column, body = _columns(path, read_rows(path, "file,identity"))
    found: dict[str, str] = {}
    for number, cells in body:
        if len(cells) <= max(file_column, identity_column):
            raise DataError(
                f"{path.name} line {number}: {len(cells)} columns where file and identity are needed"
            )
        file, identity = as_path(cells[file_column]), cells[identity_column]
        if not file or not identity:
            raise DataError(f"{path.name} line {number}: the {'file' if not file else 'identity'} is empty")
        if found.setdefault(file, identity) != identity:
            raise DataError(f'{path.name} line {number}: "{file}" already has another identity above')
    if not found:
        raise DataError(f"{path.name} holds a header and nothing else: it needs lines of file,identity")
    return found


def read_groups(path: Path) -> dict[str, str]:
    """The group of each file or identity that a table with a column `group` names; empty without that column.

    Where the table names files, those are the keys, else the first column is. Empty cells are passed over.
    Raises DataError naming the line where someone is in two groups.
    """
    (_, header), *body = read_rows(path, "identity,group")
    lower = [cell.lower() for cell in header]
    group = column(lower, GROUP_COLUMNS)
    if group is None:
        return {}
    key = column(lower, FILE_COLUMNS)
    key = key if key is not None else column(lower, IDENTITY_COLUMNS) or 0
    found: dict[str, str] = {}
    for number, cells in body:
        if len(cells) <= max(group, key) or not cells[group]:
            continue
        if found.setdefault(as_path(cells[key]), cells[group]) != cells[group]:
            raise DataError(f'{path.name} line {number}: "{cells[key]}" already has another group above')
    return found


def read_rows(path: Path, needs: str) -> Rows:
    """The lines that are not blank. Raises DataError where there is none, or it is no text."""
    lines = read_text(path).splitlines()
    delimiter = _delimiter(lines)
    rows = [
        (number, cells_of(line, delimiter, f"{path.name} line {number}"))
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not rows:
        raise DataError(f"{path.name} is empty: it needs lines of {needs}")
    return rows


def column(header: Sequence[str], names: Sequence[str]) -> int | None:
    """Where the first of the names is in a header of small letters."""
    return next((header.index(name) for name in names if name in header), None)


def as_path(cell: str) -> str:
    return cell.replace("\\", "/").removeprefix("./")


def read_text(path: Path, kind: str = "CSV UTF-8") -> str:
    """Raises DataError, asking for a file saved as `kind`, where it is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark before the first character
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 (byte {error.start}): save it as {kind}") from None


def _delimiter(lines: Sequence[str]) -> str:
    first = next((line for line in lines if line.strip()), "")
    return max(",;\t", key=first.count) if any(mark in first for mark in ",;\t") else " "


def cells_of(line: str, delimiter: str, place: str) -> list[str]:
    """Raises DataError, naming the place, where a cell is longer than any that means something here."""
    if delimiter == " ":
        return line.split()
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error as error:
        raise DataError(f"{place} is no line of a table ({error}): take it out") from None


def _columns(path: Path, rows: Rows) -> tuple[int, int, Rows]:
    """Which columns are file and identity, and the rows after the header, if there is one."""
    number, first = rows[0]
    lower = [cell.lower() for cell in first]
    file_column, identity_column = column(lower, FILE_COLUMNS), column(lower, IDENTITY_COLUMNS)
    if file_column is not None and identity_column is not None and file_column != identity_column:
        return file_column, identity_column, rows[1:]
    if len(first) == 2 and "." in Path(first[0]).name:
        return 0, 1, rows
    raise DataError(
        f"{path.name} line {number}: no columns for file and identity: "
        "begin with a header such as file,identity"
    )
