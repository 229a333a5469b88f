"""Faces in a photo, by an SCRFD network that the user names. Nothing is downloaded."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from training.formats.alignment import Points
from training.formats.errors import DataError

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
    """Finds faces, from any thread."""

    def __init__(self, path: Path, session: Callable[[Path], Any]):
        """session: opens a network with ONNX Runtime, on one thread, for photos are looked at side by side.

        Raises DataError where the file is no SCRFD network with landmarks.
        """
        scrfd = _scrfd()
        try:
            self._network: Any = scrfd(model_file=str(path), session=session(path))
            self._network.prepare(-1, **({} if self._network.input_size else {"input_size": (640, 640)}))
            usable = bool(self._network.use_kps) and self._detect(Image.new("RGB", (64, 64))) is not None
        except Exception as error:  # noqa: BLE001 - onnx, ONNX Runtime, protobuf and insightface have their own
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise DataError(f"{path} is no SCRFD network ({reason})") from None
        if not usable:
            raise DataError(f"{path} finds no landmarks: take an SCRFD model with kps")

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


_ALONE = "_insightface_model_zoo"  # the name under which its modules are imported


def _scrfd() -> Any:
    """InsightFace's class, without the rest of its package. Raises DataError where it is not installed.

    `import insightface` runs all of it, which wants SciPy and scikit-image: 175 MB in an image that have no
    part in finding faces. The detector's module needs OpenCV, ONNX and ONNX Runtime.
    """
    package = find_spec("insightface")
    if package is None or find_spec("cv2") is None:
        raise DataError(
            "finding faces takes the packages insightface and opencv-python-headless, which are not "
            "installed here: install them, or give landmarks instead of a detector"
        )
    if _ALONE not in sys.modules:
        parent = ModuleType(_ALONE)
        parent.__path__ = [
            str(Path(folder) / "model_zoo") for folder in package.submodule_search_locations or ()
        ]
        sys.modules[_ALONE] = parent
    return import_module(f"{_ALONE}.scrfd").SCRFD
