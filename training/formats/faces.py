"""A photo to one aligned face: whose face it is about, and whether it can be used."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from training.formats.alignment import Points, crop, eye_distance, fit, misfit, points_in
from training.formats.decode import decode, photo
from training.formats.detector import Detector, Found
from training.formats.landmarks import Face

# What a photo is dropped for, and how a person is told.
REASONS = {
    "unreadable": "cannot be read as a picture",
    "no_face": "no face found",
    "several_faces": "several faces of similar size, none in the middle",
    "too_small": "too few pixels between the eyes",
    "outside": "landmarks out of the picture",
    "no_shape_of_a_face": "landmarks do not lie as in a face (another order?)",
    "no_landmarks": "the table has no landmarks for it",
    "no_identity": "lies in no person's folder, or in no line of the table",
}
LEAST_EYES = 8.0  # pixels between the eyes, where nothing else is asked for
RIVAL = 2 / 3  # of the side of the largest box: smaller faces are passers-by
CENTRAL = 0.5  # of the next one's distance to the middle of the photo
MISFIT = 0.7  # points in another order fit worse than this, profiles better
OUTSIDE = 0.5  # of the eyes' distance: a detector may put a corner of a cut mouth beside the picture


class UnusableError(Exception):
    """The photo gives no face; reason is one of REASONS."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(detail or REASONS[reason])
        self.reason = reason


@dataclass(frozen=True)
class Cut:
    """face: 112x112 RGB; photo: upright, of its own size; faces: how many there were to choose from.

    points: the landmarks, or where a box alone lets them be expected, and eyes: pixels between the eyes; None
    where the photo is a face already. found: which the detector chose; None where a table told.
    """

    face: Image.Image
    photo: Image.Image
    faces: int = 1
    points: Points | None = None
    eyes: float | None = None
    found: Found | None = None

    @property
    def landmarks(self) -> Points | None:
        """Those that were seen, not expected."""
        return None if self.found is not None and self.found.points is None else self.points


def cut(data: bytes, said: Face | None, detector: Detector | None, least: float = LEAST_EYES) -> Cut:
    """The aligned face of an image file, by what a table says of it, else by the detector.

    Raises UnreadableError, or UnusableError where the photo gives no face.
    """
    if said is not None and said.points is None:
        whole = Image.fromarray(decode(data)[0])
        return Cut(whole, whole)
    if said is None and detector is None:
        raise UnusableError("no_landmarks")
    picture = photo(data)
    chosen, faces = None, 1
    if said is not None and said.points is not None:
        points = said.points
    else:
        assert detector is not None
        all_of_them = detector.faces(picture)
        chosen, faces = choose(all_of_them, picture.size), len(all_of_them)
        points = points_in(chosen.box) if chosen.points is None else chosen.points
    transform = check(points, picture.size, least)
    return Cut(crop(picture, transform), picture, faces, points, eye_distance(transform), chosen)


def choose(faces: Sequence[Found], size: tuple[int, int]) -> Found:
    """The face of at least 2/3 of the largest one's side; of several, the one that is clearly in the middle.

    Clearly: at most half as far from the middle of the photo as the next. Raises UnusableError.
    """
    if not faces:
        raise UnusableError("no_face")
    largest = max(face.side for face in faces)
    rivals = sorted(
        (face for face in faces if face.side >= RIVAL * largest), key=lambda face: _off(face, size)
    )
    if len(rivals) > 1 and _off(rivals[0], size) > CENTRAL * _off(rivals[1], size):
        raise UnusableError("several_faces", f"{len(rivals)} faces of similar size, none in the middle")
    return rivals[0]


def check(points: Points, size: tuple[int, int], least: float) -> np.ndarray:
    """The transform to the aligned face. Raises UnusableError; least: pixels between the eyes."""
    try:
        transform = fit(points)
    except ValueError as error:
        raise UnusableError("no_shape_of_a_face", str(error)) from None
    eyes = eye_distance(transform)
    beside = np.maximum(-points, points - np.array(size) + 1).max()
    if beside > OUTSIDE * min(eyes, max(size)):
        raise UnusableError("outside", f"a landmark lies {beside:.0f} pixels out of the picture")
    if misfit(points, transform) > MISFIT:
        raise UnusableError("no_shape_of_a_face")
    if eyes < least:
        raise UnusableError("too_small", f"{eyes:.1f} pixels between the eyes")
    return transform


def _off(face: Found, size: tuple[int, int]) -> float:
    left, top, right, bottom = face.box
    return float(np.hypot((left + right - size[0]) / 2, (top + bottom - size[1]) / 2))
