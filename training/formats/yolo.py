"""Detectors that our YOLOv5 jobs leave as best.onnx: boxes without landmarks, by ONNX Runtime alone.

input   (batch, 3, height, width), RGB from 0 to 1: the picture, framed in grey
output  (batch, 4 + classes, places): middle and size of each place's box in pixels of the input, then scores

The file says which classes there are (`names`), and which size (`imgsz`, `stride`) it was trained for.
"""

from ast import literal_eval
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.formats.errors import DataError

FACE = "face"
OVERLAP = 0.45  # intersection over union from which two boxes are of one face, as YOLOv5's detect.py has it
_GREY = (114, 114, 114)  # of its frames
_BOX = 4  # rows before the scores
_LARGEST = 4096  # pixels of a side: YOLOv5 jobs make none larger, and a file may say anything

Numbers = NDArray[np.float64]


class Yolo:
    """One class of such a detector: its only one, or the one called face."""

    landmarks = False

    def __init__(self, session: Any, threshold: float):
        """Raises DataError where the network is none, or finds no faces."""
        self._session, self._threshold = session, threshold
        given = session.get_inputs()
        if len(given) != 1 or given[0].type != "tensor(float)" or len(given[0].shape) != 4:
            raise DataError("it does not take one picture in fp32")
        about = session.get_modelmeta().custom_metadata_map
        names = _names(about)
        self._input, self._rows, self._score = given[0].name, _BOX + len(names), _BOX + _face(names)
        sides = given[0].shape[2:]
        fixed = all(isinstance(side, int) for side in sides)
        self._size = (sides[0], sides[1]) if fixed else _size(about)
        self._stride = 0 if fixed else _stride(about)

    def look(self, picture: Image.Image) -> tuple[Numbers, Numbers, None]:
        """Boxes (n, 4), scores (n,), the surest first. Raises DataError where the output is another's."""
        import cv2  # noqa: PLC0415  (not there without the extra `data`, and most jobs bring aligned faces)

        pixels, scale, corner = self._framed(np.asarray(picture))
        found = self._session.run(None, {self._input: pixels})[0]
        if found.ndim != 3 or found.shape[:2] != (1, self._rows):
            raise DataError(f"its output has the shape {found.shape}, not (1, {self._rows}, places)")
        rows = found[0].astype(np.float64)
        sure = np.flatnonzero((rows[self._score] >= self._threshold) & np.isfinite(rows).all(0))
        scores, middle, size = rows[self._score, sure], rows[:2, sure].T, rows[2:_BOX, sure].T
        low = middle - size / 2
        kept = cv2.dnn.NMSBoxes(np.hstack([low, size]).tolist(), scores.tolist(), self._threshold, OVERLAP)
        order = np.array(kept, dtype=np.int64).ravel()
        boxes = (np.hstack([low, low + size])[order] - np.tile(corner, 2)) / scale
        return boxes, scores[order], None

    def _framed(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float, Numbers]:
        """What the network takes, by how much the picture was scaled, and where its corner lies (x, y).

        As YOLOv5's letterbox: the longer side fills the size, the frame is no larger than the stride asks.
        """
        import cv2  # noqa: PLC0415  (as above)

        height, width = pixels.shape[:2]
        scale = min(self._size[0] / height, self._size[1] / width)
        inner = tuple(max(1, round(side * scale)) for side in (height, width))
        outer = self._size
        if self._stride:
            outer = (-(-inner[0] // self._stride) * self._stride, -(-inner[1] // self._stride) * self._stride)
        down, across = outer[0] - inner[0], outer[1] - inner[1]
        top, left = down // 2, across // 2
        scaled = cv2.resize(pixels, inner[::-1], interpolation=cv2.INTER_LINEAR)
        framed = cv2.copyMakeBorder(
            scaled, top, down - top, left, across - left, cv2.BORDER_CONSTANT, value=_GREY
        )
        channels = framed.transpose(2, 0, 1)[np.newaxis].astype(np.float32) / 255
        return np.ascontiguousarray(channels), scale, np.array([left, top], dtype=np.float64)


def _names(about: Mapping[str, str]) -> dict[int, str]:
    """The classes by their numbers from 0. Raises DataError."""
    try:
        names = literal_eval(about.get("names", ""))
    except (ValueError, SyntaxError):
        names = None
    if (
        not isinstance(names, dict)
        or not names
        or sorted(names, key=str) != sorted(range(len(names)), key=str)
    ):
        raise DataError("it does not say which classes it finds")
    return {number: str(names[number]) for number in range(len(names))}


def _face(names: Mapping[int, str]) -> int:
    """Raises DataError where none of several classes is called face."""
    if len(names) == 1:
        return 0
    for number, name in names.items():
        if name.casefold() == FACE:
            return number
    listed = ", ".join([*names.values()][:5]) + (" …" if len(names) > 5 else "")
    raise DataError(f"it finds {listed}, and no class of it is called {FACE}")


def _stride(about: Mapping[str, str]) -> int:
    """By which sides must be divisible. Raises DataError."""
    stride = about.get("stride", "32")
    if not stride.isdecimal() or not 1 <= int(stride) <= _LARGEST:
        raise DataError(f"its stride is {stride}")
    return int(stride)


def _size(about: Mapping[str, str]) -> tuple[int, int]:
    """Height and width. Raises DataError."""
    size = literal_eval(about.get("imgsz", "[640, 640]"))
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(isinstance(side, int) and 0 < side <= _LARGEST for side in size)
    ):
        raise DataError(f"its imgsz is {size}, not a height and a width")
    return size[0], size[1]
