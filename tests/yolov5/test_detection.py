"""Which predictions count as right, and which pictures the report shows."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.yolov5.report.pictures import MOST, Example, picture, worst


@pytest.mark.usefixtures("ultralytics")
def test_a_box_is_found_once_by_the_best_score_that_overlaps_enough() -> None:
    from training.yolov5.detection import matched  # noqa: PLC0415

    overlaps = np.array(
        [[0.9, 0.95, 0.0, 0.4], [0.6, 0.0, 0.72, 0.0]]
    )  # two boxes, four predictions, best first
    hits = matched(overlaps)
    assert hits.sum(1).tolist() == [9, 1, 5, 0]
    # At 0.95 only the second is near enough to the first box; the third is to the second box, up to 0.7.
    assert hits[:, 0].tolist() == [True, False, True, False]
    assert hits[:, -1].tolist() == [False, True, False, False]


@pytest.mark.usefixtures("ultralytics")
def test_nothing_found_and_nothing_there_is_no_error() -> None:
    from training.yolov5.detection import matched  # noqa: PLC0415

    assert matched(np.zeros((2, 0))).shape == (0, 10)
    assert not matched(np.zeros((0, 3))).any()


def example(there: int, found: int, right: int) -> Example:
    def boxes(count: int) -> NDArray[np.float64]:
        return np.array([[2, 2, 20 + number, 20] for number in range(count)], dtype=float).reshape(-1, 4)

    flags = np.arange(found) < right
    return Example(np.zeros((30, 60, 3), np.uint8), boxes(there), boxes(found), flags)


def test_the_pictures_with_most_mistakes_are_shown() -> None:
    good, missing, both = example(2, 2, 2), example(3, 1, 1), example(3, 3, 1)
    assert worst([good, missing, both]) == [both, missing, good]
    assert len(worst([good] * 20)) == MOST


def test_a_picture_says_what_is_to_be_seen() -> None:
    shown = picture(example(3, 3, 1))
    assert shown.caption == "3 there, 2 missed, 2 found where nothing is"
    assert shown.uri.startswith("data:image/jpeg;base64,")
