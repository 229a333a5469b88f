"""Where eyes come to lie that are placed by a face's box alone, against the landmarks that SCRFD finds.

Boxes and landmarks are SCRFD's own, on the photos of att_faces. What relates the two (BOX_SIDE and BOX_MIDDLE
in training/formats/alignment.py) is the median over these photos; here it is also taken from half of them
and tried on the other half. Needs ../shared/data: real faces and a detector.
"""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facetrain.datasets.check.parallel import in_threads
from facetrain.datasets.prepare.network import open_detector
from training.formats.alignment import BOX_MIDDLE, BOX_SIDE, TEMPLATE, fit
from training.formats.detector import Detector, Found

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
DETECTOR = DATA / "models" / "scrfd_500m_kps.onnx"

Numbers = NDArray[np.float64]


def main() -> None:
    if not DETECTOR.is_file():
        print("  ../shared/data (real faces and a detector) is not here")
        return
    files = sorted((DATA / "att_faces").rglob("*.pgm"))
    detector = open_detector(DETECTOR)
    faces = list(in_threads(partial(_face, detector), files))
    sides, middles = map(np.array, zip(*map(_on_template, faces), strict=True))
    print(
        f"  {len(faces)} photos: side {np.median(sides):.1f}, middle {np.median(middles, 0).round(1)} of 112"
    )
    _tell("landmarks", np.array([_off(face, fit(_points(face))) for face in faces]))
    _tell("box", np.array([_off(face, _by_box(face, BOX_SIDE, np.array(BOX_MIDDLE))) for face in faces]))
    with Image.open(DATA / "group_photo.jpg") as image:
        group = detector.faces(image.convert("RGB"))
    turned = [abs(np.degrees(np.arctan2(*fit(_points(face))[1::-1, 0]))) for face in group]
    off = np.array([_off(face, _by_box(face, BOX_SIDE, np.array(BOX_MIDDLE))) for face in group])
    _tell(f"box, {len(group)} faces askew", off)
    print(f"  {'':<22} by {np.median(turned):.0f} degrees in the middle, in a group photo")
    half = np.array([file.parent.name < "s28" for file in files])
    side, middle = float(np.median(sides[half])), np.median(middles[half], 0)
    others = [face for face, first in zip(faces, half, strict=True) if not first]
    _tell(
        f"box, by the other {half.sum()}",
        np.array([_off(face, _by_box(face, side, middle)) for face in others]),
    )


def _face(detector: Detector, file: Path) -> Found:
    with Image.open(file) as image:
        return detector.faces(image.convert("RGB"))[0]


def _points(face: Found) -> Numbers:
    assert face.points is not None
    return face.points


def _middle(face: Found) -> Numbers:
    return np.array([face.box[0] + face.box[2], face.box[1] + face.box[3]]) / 2


def _on_template(face: Found) -> tuple[float, Numbers]:
    """Side and middle of the box once the face is aligned by its landmarks."""
    transform = fit(_points(face))
    return face.side * float(np.hypot(*transform[:, 0])), transform @ (*_middle(face), 1)


def _by_box(face: Found, side: float, middle: Numbers) -> Numbers:
    scale = side / face.side
    return np.column_stack([np.eye(2) * scale, middle - scale * _middle(face)])


def _off(face: Found, transform: Numbers) -> float:
    """Pixels of 112, mean of both eyes."""
    eyes = _points(face)[:2] @ transform[:, :2].T + transform[:, 2]
    return float(np.hypot(*(eyes - TEMPLATE[:2]).T).mean())


def _tell(name: str, off: Numbers) -> None:
    median, most = np.percentile(off, [50, 95])
    print(
        f"  {name:<22} eyes off by {off.mean():.1f} pixels of 112 on average, "
        f"median {median:.1f}, 95 % within {most:.1f}"
    )
