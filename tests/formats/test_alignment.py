"""The aligned face, beside InsightFace's own."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.formats.alignment import TEMPLATE, Points, crop, eye_distance, fit, misfit
from training.formats.errors import DataError


def photo(width: int = 300, height: int = 240) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2))


def turned(scale: float, degrees: float, shift: tuple[float, float]) -> Points:
    """The template's points elsewhere in a photo, moved a little as real faces' are."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved: Points = scale * TEMPLATE @ turn.T + shift + np.random.default_rng(1).normal(0, 1, (5, 2))
    return moved


@pytest.mark.filterwarnings("ignore:`estimate` is deprecated")
@pytest.mark.parametrize(
    "points",
    [
        turned(1, 0, (80, 60)),
        turned(1.7, 20, (90, 20)),
        turned(0.4, -35, (100, 100)),
        turned(1, 10, (-50, -40)),
        turned(1.2, 180, (290, 230)),
    ],
    ids=["upright", "large", "small", "over the corner", "upside down"],
)
def test_a_face_is_aligned_as_insightface_does(points: Points) -> None:
    align = pytest.importorskip("insightface.utils.face_align")
    picture = photo()
    theirs: NDArray[np.uint8] = align.norm_crop(np.asarray(picture), points.astype(np.float32), 112)
    ours = np.asarray(crop(picture, fit(points)))
    assert np.abs(ours.astype(int) - theirs).max() <= 2
    assert np.allclose(fit(points), align.estimate_norm(points.astype(np.float32)), atol=1e-2)


def test_a_large_face_is_averaged_where_bilinear_sampling_would_skip_pixels() -> None:
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 255  # grey from afar
    face = np.asarray(crop(Image.fromarray(stripes), fit(TEMPLATE * 8.5 + 100)))
    assert np.abs(face.astype(int) - 127).max() <= 1


def test_the_scale_tells_the_distance_of_the_eyes() -> None:
    assert eye_distance(fit(TEMPLATE * 2)) == pytest.approx(70.5, abs=0.1)


def test_points_in_another_order_do_not_fit() -> None:
    assert misfit(TEMPLATE * 3, fit(TEMPLATE * 3)) == pytest.approx(0, abs=1e-9)
    for order in ([1, 0, 2, 4, 3], [3, 4, 2, 0, 1], [2, 0, 1, 3, 4]):
        assert misfit(TEMPLATE[order], fit(TEMPLATE[order])) > 0.7


@pytest.mark.parametrize("value", [7.0, np.nan])
def test_points_at_one_place_or_of_no_number_are_refused(value: float) -> None:
    with pytest.raises(DataError, match=r"at one place|no number"):
        fit(np.full((5, 2), value))


def test_a_face_beside_the_photo_is_black(tmp_path: Path) -> None:
    assert not np.asarray(crop(photo(), fit(TEMPLATE + 5000))).any()
