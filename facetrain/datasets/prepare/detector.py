"""Faces in a photo, by an SCRFD network that the user names. Nothing is downloaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from facetrain.datasets.prepare.network import refusing, session
from facetrain.errors import InputError
from training.formats.alignment import Points

THRESHOLD = 0.5
# A longer side is halved, and so on, before the network scales it to its own input, which skips pixels.
_LONGEST = 1280
_SLENDER = 100


@dataclass(frozen=True)
class Found:
    """One face: box is left, top, right, bottom; pixels of the photo."""

    box: tuple[float, float, float, float]
    score: float
    points: Points

    @property
    def side(self) -> float:
        """The square root of the box's area."""
        left, top, right, bottom = self.box
        return float(np.sqrt(max(right - left, 0) * max(bottom - top, 0)))


class Detector:
    """Finds faces with one thread: there is a process for each core."""

    def __init__(self, path: Path):
        """Raises InputError where the file is no SCRFD network with landmarks."""
        from insightface.model_zoo.scrfd import SCRFD  # noqa: PLC0415 - a second to import

        with refusing("--detector", path, "is no SCRFD network"):
            self._network: Any = SCRFD(model_file=str(path), session=session(path, threads=1))
            self._network.prepare(-1, **({} if self._network.input_size else {"input_size": (640, 640)}))
            usable = bool(self._network.use_kps) and self._detect(Image.new("RGB", (64, 64))) is not None
        if not usable:
            raise InputError.because("--detector", f"{path} finds no landmarks: take an SCRFD model with kps")

    def faces(self, photo: Image.Image) -> list[Found]:
        """Every face, the surest first. A second look, with a border, where there seems to be none.

        The network looks for faces that fill less of the picture than those of a passport photo do.
        """
        factor = max(1, max(photo.size) // _LONGEST)
        small = photo.reduce(factor) if factor > 1 else photo
        found = self._detect(small)
        border = 0
        if not found:
            border = max(small.size) // 2
            found = self._detect(ImageOps.expand(small, border))
        return [self._moved(face, border, factor) for face in found]

    def _detect(self, picture: Image.Image) -> list[Found]:
        if max(picture.size) > _SLENDER * min(picture.size):
            return []  # it would be scaled to no width at all
        boxes, points = self._network.detect(
            np.ascontiguousarray(np.asarray(picture)[..., ::-1]), det_thresh=THRESHOLD
        )
        return [
            Found((float(box[0]), float(box[1]), float(box[2]), float(box[3])), float(box[4]), five)
            for box, five in zip(boxes, points.astype(np.float64), strict=True)
        ]

    @staticmethod
    def _moved(face: Found, border: int, factor: int) -> Found:
        left, top, right, bottom = ((value - border) * factor for value in face.box)
        # The centre of the first of `factor` averaged pixels lies before the centre of their average.
        points = (face.points - border) * factor + (factor - 1) / 2
        return Found((left, top, right, bottom), face.score, points)
