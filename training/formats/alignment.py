"""A face, by five points, to the 112x112 picture that recognition networks are trained on.

The points are left eye, right eye, nose, left and right corner of the mouth, left being what is left in the
picture; (5, 2) float64, pixels from the centre of the picture's first pixel, as OpenCV and InsightFace count.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.formats.decode import SIZE
from training.formats.errors import DataError

Points = NDArray[np.float64]  # (5, 2): x, y

# InsightFace's `arcface_dst`: where the points of a frontal face come to lie.
TEMPLATE: Points = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_EYES = float(np.hypot(*(TEMPLATE[1] - TEMPLATE[0])))  # 35.2 pixels
# How SCRFD's boxes lie on the template once the face does, by its landmarks: medians of the 400 photos of
# att_faces, measured by `python -m bench boxes`. The side is the square root of the area, 93 of 112 pixels.
BOX_SIDE, BOX_MIDDLE = 93.1, (56.0, 64.3)
_SPREAD = float(np.sqrt(np.square(TEMPLATE - TEMPLATE.mean(0)).sum(1).mean()))


def fit(points: Points) -> NDArray[np.float64]:
    """The similarity transform (2, 3) that brings the points nearest to the template, by least squares.

    As Umeyama (1991) in two dimensions: rotation, one scale, translation, no reflection. Raises DataError
    for points that all lie at one place, or are no numbers.
    """
    if not np.isfinite(points).all():
        raise DataError("has a landmark that is no number")
    place, goal = points @ (1, 1j), TEMPLATE @ (1, 1j)  # a similarity is one complex factor and a shift
    centred = place - place.mean()
    spread = float(np.square(np.abs(centred)).sum())
    if spread < 1e-6:
        raise DataError("has its five landmarks at one place")
    factor = complex(np.vdot(centred, goal - goal.mean()) / spread)
    shift = complex(goal.mean() - factor * place.mean())
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def points_in(box: tuple[float, float, float, float]) -> Points:
    """Where a frontal, upright face has its points that fills left, top, right, bottom as SCRFD's boxes do.

    Fitted to the template they give the square around the box's middle whose side is 112 / 93.1 of the
    box's, a little higher than the box, and no rotation.
    """
    left, top, right, bottom = box
    side = float(np.sqrt(max(right - left, 0) * max(bottom - top, 0)))
    middle = np.array([left + right, top + bottom]) / 2
    return (TEMPLATE - BOX_MIDDLE) * (side / BOX_SIDE) + middle


def eye_distance(transform: NDArray[np.float64]) -> float:
    """Pixels between the eyes in the photo, were the face frontal: of a profile the real ones say little."""
    return _EYES / max(float(np.hypot(*transform[:, 0])), 1e-9)


def misfit(points: Points, transform: NDArray[np.float64]) -> float:
    """How far the points stay from the template: 0 for the same shape, near 1 where nothing agrees."""
    left = points @ transform[:, :2].T + transform[:, 2] - TEMPLATE
    return float(np.sqrt(np.square(left).sum(1).mean())) / _SPREAD


def crop(photo: Image.Image, transform: NDArray[np.float64], size: int = SIZE) -> Image.Image:
    """The aligned face, size x size RGB, black where the photo ends.

    As InsightFace's norm_crop (bilinear), but a face of more than twice the size is first averaged by a
    whole factor, for bilinear sampling alone would skip most of its pixels.
    """
    back = np.linalg.inv(np.vstack([transform, (0, 0, 1)]))[:2]
    factor = max(1, int(np.hypot(*back[:, 0])))
    corners = np.array([(x, y, 1) for x in (0, size - 1) for y in (0, size - 1)]) @ back.T
    low = np.floor(corners.min(0)).astype(int) - factor
    high = np.ceil(corners.max(0)).astype(int) + 2 * factor
    left, top = (int(value) for value in np.clip(low, 0, None))
    right, bottom = (int(value) for value in np.minimum(high, photo.size))
    if left >= right or top >= bottom:
        return Image.new("RGB", (size, size))
    part = photo.reduce(factor, (left, top, right, bottom))
    # The black around the part is what blends into its edge, as a constant border does.
    part = part.crop((-1, -1, part.width + 1, part.height + 1))
    origin = np.array((left, top)) + (factor - 1) / 2 - factor
    inverse = back.copy()
    inverse[:, 2] = (back[:, 2] - origin) / factor
    inverse[:, :2] /= factor
    # Pillow counts from a pixel's corner, the transform from its centre.
    inverse[:, 2] += 0.5 - inverse[:, :2].sum(1) / 2
    return part.transform(
        (size, size), Image.Transform.AFFINE, tuple(inverse.ravel()), Image.Resampling.BILINEAR
    )
