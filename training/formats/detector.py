"""Faces in a photo, by a network that the user names. Nothing is downloaded."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from training.formats.alignment import Points
from training.formats.errors import DataError
from training.formats.scrfd import Scrfd
from training.formats.yolo import Yolo

THRESHOLD = 0.5
# A longer side is halved, and so on, before the network scales it to its own input, which skips pixels.
_LONGEST = 1280


@dataclass(frozen=True)
class Found:
    """One face: box is left, top, right, bottom; pixels of the photo. points: None from boxes alone."""

    box: tuple[float, float, float, float]
    score: float
    points: Points | None

    @property
    def side(self) -> float:
        """The square root of the box's area."""
        left, top, right, bottom = self.box
        return float(np.sqrt(max(right - left, 0) * max(bottom - top, 0)))


class _Network(Protocol):
    landmarks: bool

    def look(
        self, picture: Image.Image
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
        """Boxes (n, 4) as left, top, right, bottom, scores (n,) and points (n, 5, 2), the surest first."""


class Detector:
    """Finds faces, from any thread."""

    def __init__(self, path: Path, session: Callable[[Path], Any]):
        """session: opens a network with ONNX Runtime, on one thread, for photos are looked at side by side.

        Raises DataError where the file is neither an SCRFD network with landmarks nor a detector of ours, or
        the packages that run them are not installed.
        """
        if find_spec("insightface") is None or find_spec("cv2") is None:
            raise DataError(
                "finding faces takes the packages insightface and opencv-python-headless, which are not "
                "installed here: install them, or give landmarks instead of a detector"
            )
        try:
            self._network = _network(path, session(path))
            self._detect(Image.new("RGB", (64, 64)))
        except Exception as error:  # noqa: BLE001 - onnx, ONNX Runtime, protobuf and insightface have their own
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise DataError(
                f"{path} is no face detector ({reason}): take an SCRFD network with landmarks, or the "
                f"best.onnx of a YOLOv5 job"
            ) from None

    @property
    def landmarks(self) -> bool:
        """Whether it finds eyes, nose and mouth, too, or boxes alone."""
        return self._network.landmarks

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
        boxes, scores, points = self._network.look(picture)
        return [
            Found(
                (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                float(score),
                None if points is None else points[place],
            )
            for place, (box, score) in enumerate(zip(boxes, scores, strict=True))
        ]

    @staticmethod
    def _moved(face: Found, border: int, factor: int) -> Found:
        left, top, right, bottom = ((value - border) * factor for value in face.box)
        box = (left, top, right, bottom)
        if face.points is None:
            return Found(box, face.score, None)
        # The centre of the first of `factor` averaged pixels lies before the centre of their average.
        return Found(box, face.score, (face.points - border) * factor + (factor - 1) / 2)


def _network(path: Path, session: Any) -> _Network:
    """SCRFD gives scores, boxes and landmarks of several scales apart, YOLOv5 all in one."""
    if len(session.get_outputs()) == 1:
        return Yolo(session, THRESHOLD)
    return Scrfd(path, session, THRESHOLD)
