"""YOLO's label files: what is read, and what is said of a row that is wrong."""

import numpy as np
import pytest

from training.formats.boxes import label_of, read
from training.formats.errors import DataError


def test_rows_are_read_and_each_box_is_kept_once() -> None:
    boxes, faults = read(b"\xef\xbb\xbf0 0.5 0.5 0.2 0.4\r\n\n1 0.1 0.1 0.1 0.1\n0 0.5 0.5 0.2 0.4\n", 2)
    assert boxes.dtype == np.float32
    np.testing.assert_allclose(boxes, [[0, 0.5, 0.5, 0.2, 0.4], [1, 0.1, 0.1, 0.1, 0.1]])
    assert not faults


def test_an_empty_file_is_a_picture_with_nothing_in_it() -> None:
    boxes, faults = read(b"\n", 1)
    assert boxes.shape == (0, 5)
    assert not faults


def test_of_an_outline_the_box_is_taken() -> None:
    boxes, _ = read(b"0 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n", 1)
    np.testing.assert_allclose(boxes, [[0, 0.3, 0.4, 0.4, 0.4]], rtol=1e-6)


def test_a_box_a_little_beyond_the_edge_is_cut_off_there() -> None:
    boxes, faults = read(b"0 0.5 0.5 1.005 1\n", 1)
    assert boxes[0, 3] == 1
    assert not faults


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("0 0.5 0.5 0.2", "has 4 columns"),
        ("0 0.5 0.5 0.2 0.2 0.9", "has 6 columns"),
        ("0 0.5 0.5 120 40", "120 is out of range"),
        ("0 -0.5 0.5 0.2 0.2", "-0.5 is out of range"),
        ("0 0.5 0.5 0 0.2", "the box has no area"),
        ("0.5 0.5 0.5 0.2 0.2", "the class 0.5 is no whole number"),
        ("-1 0.5 0.5 0.2 0.2", "the class -1 is no whole number"),
        ("cat 0.5 0.5 0.2 0.2", "'cat' is not a number"),
        ("0 nan 0.5 0.2 0.2", "nan is not a finite number"),
    ],
)
def test_a_row_that_is_wrong_is_told_by_its_line_and_the_others_are_read(row: str, said: str) -> None:
    boxes, faults = read(f"0 0.5 0.5 0.2 0.2\n{row}\n".encode(), 1)
    assert len(boxes) == 1
    assert [fault.line for fault in faults] == [2]
    assert faults[0].message.startswith(said)
    assert not faults[0].beyond


def test_a_class_beyond_those_that_are_named_is_told_apart() -> None:
    boxes, faults = read(b"2 0.5 0.5 0.2 0.2\n", 2)
    assert not len(boxes)
    assert faults[0].beyond
    assert faults[0].message == "class 2 is not among the 2 that nc and names give (0 to 1)"


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read(b"\xff\xfe", 1)


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ({"train/a.b.txt", "a.b.txt"}, "train/a.b.txt"),
        ({"a.b.txt"}, "a.b.txt"),  # labels without the folder train
        ({"train/a.txt"}, None),
    ],
)
def test_a_picture_has_the_label_file_of_its_name(there: set[str], found: str | None) -> None:
    assert label_of("train/a.b.jpg", there) == found


def test_pictures_and_labels_may_lie_below_one_folder() -> None:
    assert label_of("images/train/a.jpg", {"labels/train/a.txt"}) == "labels/train/a.txt"
    assert label_of("train/images/a.jpg", {"train/labels/a.txt"}) == "train/labels/a.txt"
