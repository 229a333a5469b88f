"""A table of files and identities, as people have them: CSV, TSV or blanks; with or without a header."""

import csv
from collections.abc import Sequence
from pathlib import Path

from training.arcface.errors import TrainingError

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


def read_labels(path: Path) -> dict[str, str]:
    """The identity of each file, files with forward slashes and without a leading "./".

    Raises TrainingError naming the line where the table cannot be understood or contradicts itself.
    """
    lines = _text(path).splitlines()
    rows = [(number, _cells(line, _delimiter(lines))) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise TrainingError(f"{path.name} is empty: it needs lines of file,identity")
    file_column, identity_column, body = _columns(path, rows)
    found: dict[str, str] = {}
    for number, cells in body:
        if len(cells) <= max(file_column, identity_column):
            raise TrainingError(
                f"{path.name} line {number}: {len(cells)} columns where file and identity are needed"
            )
        file = cells[file_column].replace("\\", "/").removeprefix("./")
        identity = cells[identity_column]
        if not file or not identity:
            raise TrainingError(
                f"{path.name} line {number}: the {'file' if not file else 'identity'} is empty"
            )
        if found.setdefault(file, identity) != identity:
            raise TrainingError(f'{path.name} line {number}: "{file}" already has another identity above')
    if not found:
        raise TrainingError(f"{path.name} holds a header and nothing else: it needs lines of file,identity")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark before the first character
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path.name} is not UTF-8 (byte {error.start}): save it as CSV UTF-8") from None


def _delimiter(lines: Sequence[str]) -> str:
    first = next((line for line in lines if line.strip()), "")
    return max(",;\t", key=first.count) if any(mark in first for mark in ",;\t") else " "


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]


def _columns(path: Path, rows: list[tuple[int, list[str]]]) -> tuple[int, int, list[tuple[int, list[str]]]]:
    """Which columns are file and identity, and the rows after the header, if there is one."""
    number, first = rows[0]
    lower = [cell.lower() for cell in first]
    file_column = next((lower.index(name) for name in FILE_COLUMNS if name in lower), None)
    identity_column = next((lower.index(name) for name in IDENTITY_COLUMNS if name in lower), None)
    if file_column is not None and identity_column is not None and file_column != identity_column:
        return file_column, identity_column, rows[1:]
    if len(first) == 2 and "." in Path(first[0]).name:
        return 0, 1, rows
    raise TrainingError(
        f"{path.name} line {number}: no columns for file and identity: "
        "begin with a header such as file,identity"
    )
