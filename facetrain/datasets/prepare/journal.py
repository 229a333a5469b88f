"""What became of each photo, a line each, written as it is known: a second run goes on where one ended.

DEST/.prepare/journal.jsonl     {"options": …}, then a row for each photo
DEST/.prepare/prepare.csv       the same for people, at the end
"""

import fcntl
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from facetrain.errors import InputError
from training.formats.landmarks import Face

FOLDER = ".prepare"  # hidden: neither uploaded nor trained on
NAME = "journal.jsonl"


@dataclass(frozen=True)
class Row:
    """One photo. Sizes, boxes and landmarks are in pixels of the upright photo.

    face: the file in DEST, empty where the photo was dropped; reason: one of REASONS in
    training/formats/faces.py, and detail what is to be said of this photo; stamp: by which it is told whether
    to do it anew; look: a hash of what it looks like, hexadecimal.
    """

    file: str
    stamp: str
    face: str = ""
    reason: str = ""
    detail: str = ""
    faces: int = 0
    box: tuple[float, ...] = ()
    score: float | None = None
    eyes: float | None = None
    points: tuple[float, ...] = ()
    look: str = ""

    @property
    def kept(self) -> bool:
        return bool(self.face)


def stamp(path: Path, face: Face | None) -> str:
    """Changes with the file and with what a table says of it; empty for a file that is gone."""
    try:
        status = path.stat()
    except OSError:
        return ""
    points = None if face is None or face.points is None else face.points.tolist()
    said = zlib.crc32(repr((face is None, points)).encode())
    return f"{status.st_size}-{status.st_mtime_ns}-{said:08x}"


class Journal:
    """Rows by file; opened for one run at a time."""

    def __init__(self, destination: Path, options: Mapping[str, Any]):
        """Begins one, or goes on with the one that is there.

        Raises InputError where DEST holds something else, or was begun with other options.
        """
        folder = destination / FOLDER
        self.path = folder / NAME
        self.rows: dict[str, Row] = {}
        self.faces: set[str] = set()  # that any run wrote
        if self.path.is_file():
            self._read(destination, options)
        elif destination.exists() and (not destination.is_dir() or any(_others(destination))):
            raise InputError.because("DEST", f"{destination} holds something already: name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = self.path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise InputError.because(
                "DEST", f"another run is at work in {destination}: wait for it"
            ) from None
        if not self.rows and not self.path.stat().st_size:
            self._write({"options": dict(options)})

    def _read(self, destination: Path, options: Mapping[str, Any]) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))  # killed while it wrote a line
        try:
            first, *rest = [json.loads(line) for line in whole.splitlines()] or [{"options": dict(options)}]
            before = dict(first["options"])
            rows = [Row(**row) for row in rest]
        except (ValueError, KeyError, TypeError):
            raise InputError.because(
                "DEST", f"{self.path} is damaged: name a new folder, or remove {destination}"
            ) from None
        if other := sorted(name for name in {*before, *options} if before.get(name) != options.get(name)):
            raise InputError.because(
                "DEST",
                f"{destination} was begun with other options ({', '.join(other)}): use the same, name a new "
                "folder, or remove it",
            )
        self.rows = {row.file: row for row in rows}
        self.faces = {row.face for row in rows if row.kept}

    def add(self, row: Row) -> None:
        self.rows[row.file] = row
        if row.kept:
            self.faces.add(row.face)
        self._write(asdict(row))

    def _write(self, value: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _others(destination: Path) -> list[str]:
    return [path.name for path in destination.iterdir() if path.name not in (FOLDER, ".DS_Store")]
