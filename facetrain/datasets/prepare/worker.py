"""One photo to one aligned face; runs in a process for each core."""

import io
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from facetrain.datasets.prepare.journal import Row, stamp
from facetrain.datasets.prepare.network import open_detector
from facetrain.datasets.prepare.photos import Photo
from training.formats.decode import SIZE, read_bytes
from training.formats.errors import UnreadableError
from training.formats.faces import UnusableError, cut
from training.formats.landmarks import Face

LOOK_SIDE = 16
SUFFIXES = {"jpeg": ".jpg", "png": ".png"}


@dataclass(frozen=True)
class Plan:
    """The same for every photo."""

    source: Path
    destination: Path
    detector: Path | None  # None: landmarks come with the tasks
    form: str  # of SUFFIXES
    min_eyes: float


@dataclass(frozen=True)
class Task:
    """face: what the table of landmarks says, None where it says nothing or there is none."""

    photo: Photo
    face: Face | None = None


class Worker:
    """Holds the detector from photo to photo."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.detector = open_detector(plan.detector) if plan.detector else None

    def __call__(self, task: Task) -> Row:
        """Writes the face and says so, or says why not. Raises OSError where DEST cannot be written."""
        path = self.plan.source / task.photo.file
        row = Row(task.photo.file, stamp(path, task.face))
        try:
            aligned, row = self._aligned(task, path, row)
        except UnreadableError as error:
            return replace(row, reason="unreadable", detail=str(error))
        except UnusableError as error:
            return replace(row, reason=error.reason, detail=str(error))
        face = task.photo.face + SUFFIXES[self.plan.form]
        _write(self.plan.destination / face, _encoded(aligned, self.plan.form))
        return replace(row, face=face)

    def _aligned(self, task: Task, path: Path, row: Row) -> tuple[Image.Image, Row]:
        if not task.photo.face:
            raise UnusableError("no_identity")
        found = cut(read_bytes(path), task.face, self.detector, self.plan.min_eyes)
        row = replace(row, faces=found.faces, look=look(found.photo))
        if found.eyes is not None:
            row = replace(row, eyes=round(found.eyes, 1))
        if found.landmarks is not None:
            row = replace(row, points=_rounded(found.landmarks.ravel()))
        if found.found is not None:
            row = replace(row, box=_rounded(found.found.box), score=round(found.found.score, 4))
        return found.face, row


def look(picture: Image.Image) -> str:
    """256 bits, hexadecimal: where each of 16 x 16 fields is brighter than the one to its left.

    A picture that is saved again, smaller or paler, keeps nearly all of them.
    """
    small = picture.convert("L").resize((LOOK_SIDE + 1, LOOK_SIDE), Image.Resampling.BOX)
    values = np.asarray(small)
    return np.packbits(values[:, 1:] > values[:, :-1]).tobytes().hex()


def _rounded(values: object) -> tuple[float, ...]:
    return tuple(round(float(value), 2) for value in values)  # type: ignore[attr-defined]


def _encoded(face: Image.Image, form: str) -> bytes:
    assert face.size == (SIZE, SIZE)
    out = io.BytesIO()
    if form == "png":
        face.save(out, "PNG")
    else:
        face.save(out, "JPEG", quality=95, subsampling="4:4:4")
    return out.getvalue()


def _write(path: Path, data: bytes) -> None:
    """Beside its place and renamed. Raises OSError that names the file."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data)
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from None
