"""What is left for people in DEST/.prepare: a table of all photos, suspects, and a picture of some faces."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from facetrain.datasets.prepare.journal import Row
from facetrain.datasets.prepare.suspects import Suspect
from training.formats.decode import SIZE

TABLE, SUSPECTS, SHEET = "prepare.csv", "suspects.csv", "contact-sheet.jpg"
_ACROSS, _DOWN = 10, 10
_POINTS = [
    f"{point}_{axis}" for point in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
]
_COLUMNS = (
    "file",
    "result",
    "reason",
    "detail",
    "face",
    "faces",
    "left",
    "top",
    "right",
    "bottom",
    "score",
    "eyes",
)


def write_table(folder: Path, rows: Iterable[Row]) -> Path:
    """A line for each photo; its landmarks stand as `--landmarks` reads them."""
    lines = [[*_COLUMNS, *_POINTS]]
    for row in rows:
        box = [*map(str, row.box)] if row.box else [""] * 4
        figures = ["" if value is None else str(value) for value in (row.score, row.eyes)]
        points = [*map(str, row.points)] if row.points else [""] * len(_POINTS)
        result = "kept" if row.kept else "dropped"
        lines.append(
            [row.file, result, row.reason, row.detail, row.face, str(row.faces), *box, *figures, *points]
        )
    return _put_csv(folder / TABLE, lines)


def write_suspects(folder: Path, suspects: Iterable[Suspect]) -> Path:
    lines = [["file", "kind", "other", "detail"]]
    lines += [[found.file, found.kind, found.other, found.detail] for found in suspects]
    return _put_csv(folder / SUSPECTS, lines)


def write_sheet(destination: Path, folder: Path, rows: Sequence[Row]) -> Path | None:
    """Up to 100 faces, evenly from all; None where there is none."""
    kept = [row for row in rows if row.kept]
    count = min(len(kept), _ACROSS * _DOWN)
    if not count:
        return None
    sheet = Image.new("RGB", (min(count, _ACROSS) * SIZE, -(-count // _ACROSS) * SIZE))
    for place in range(count):
        try:
            with Image.open(destination / kept[place * len(kept) // count].face) as face:
                sheet.paste(face, (place % _ACROSS * SIZE, place // _ACROSS * SIZE))
        except (FileNotFoundError, UnidentifiedImageError):
            continue  # somebody took it away
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=90)
    return _put(folder / SHEET, out.getvalue())


def _put_csv(path: Path, lines: Iterable[Sequence[str]]) -> Path:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return _put(path, out.getvalue().encode())


def _put(path: Path, data: bytes) -> Path:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(data)
    return aside.replace(path)
