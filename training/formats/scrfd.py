"""InsightFace's SCRFD networks: boxes of faces and five landmarks each."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.formats.errors import DataError

_SLENDER = 100


class Scrfd:
    """As InsightFace runs it."""

    landmarks = True

    def __init__(self, path: Path, session: Any, threshold: float):
        """Raises DataError for one without landmarks, and what insightface raises for another network."""
        self._threshold = threshold
        self._network: Any = _scrfd()(model_file=str(path), session=session)
        self._network.prepare(-1, **({} if self._network.input_size else {"input_size": (640, 640)}))
        if not self._network.use_kps:
            raise DataError("it finds no landmarks, as those with kps do")

    def look(
        self, picture: Image.Image
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Boxes (n, 4), scores (n,) and points (n, 5, 2), the surest first."""
        if max(picture.size) > _SLENDER * min(picture.size):  # it would be scaled to no width at all
            return np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2))
        boxes, points = self._network.detect(
            np.ascontiguousarray(np.asarray(picture)[..., ::-1]), det_thresh=self._threshold
        )
        return boxes[:, :4].astype(np.float64), boxes[:, 4].astype(np.float64), points.astype(np.float64)


_ALONE = "_insightface_model_zoo"  # the name under which its modules are imported


def _scrfd() -> Any:
    """InsightFace's class, without the rest of its package.

    `import insightface` runs all of it, which wants SciPy and scikit-image: 175 MB in an image that have no
    part in finding faces. The detector's module needs OpenCV, ONNX and ONNX Runtime.
    """
    package = find_spec("insightface")
    assert package is not None  # the detector asked
    if _ALONE not in sys.modules:
        parent = ModuleType(_ALONE)
        parent.__path__ = [
            str(Path(folder) / "model_zoo") for folder in package.submodule_search_locations or ()
        ]
        sys.modules[_ALONE] = parent
    return import_module(f"{_ALONE}.scrfd").SCRFD
