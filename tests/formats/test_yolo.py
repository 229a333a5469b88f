"""Faces by the detector that a YOLOv5 job leaves."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from facetrain.datasets.prepare.network import session
from tests.datasets.detectors import Box, photo, write_detector, write_network
from training.formats.alignment import BOX_MIDDLE, BOX_SIDE, fit, points_in
from training.formats.detector import Detector
from training.formats.errors import DataError

opened = partial(session, threads=1)
NAMES = {"names": "{0: 'face'}"}


@pytest.mark.parametrize("network", [("height", "width"), (128, 96)], ids=["any size", "one size"])
@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((300, 200), (60, 50, 150, 170)),
        ((90, 240), (10, 100, 80, 190)),
        ((40, 40), (0, 0, 30, 40)),
        ((3000, 1200), (1000, 100, 1900, 1100)),
        ((700, 9), (100, 0, 300, 9)),
    ],
)
def test_a_box_is_found_where_it_is_in_pictures_of_every_size(
    tmp_path: Path, network: tuple[int | str, int | str], size: tuple[int, int], box: Box
) -> None:
    detector = Detector(write_detector(tmp_path / "best.onnx", size=network), opened)
    (found,) = detector.faces(photo(box, size))
    assert np.abs(np.array(found.box) - box).max() <= max(1, max(size) / 96)  # a pixel of the network's
    assert (round(found.score, 3), found.points, detector.landmarks) == (0.9, None, False)


def test_boxes_that_lie_on_each_other_are_one_face_and_the_surest_comes_first(tmp_path: Path) -> None:
    places = [(0, 0.7), (0.1, 0.75), (2, 0.8), (1.9, 0.6), (4, 0.49)]
    detector = Detector(write_detector(tmp_path / "best.onnx", places), opened)
    found = detector.faces(photo((10, 20, 40, 60)))
    assert [round(face.score, 2) for face in found] == [0.8, 0.75]
    assert [round(face.box[0]) for face in found] == [70, 13]


def test_where_nothing_is_found_there_is_no_face(tmp_path: Path) -> None:
    detector = Detector(write_detector(tmp_path / "best.onnx"), opened)
    assert detector.faces(photo(None)) == []


@pytest.mark.parametrize("names", [["person", "car", "Face"], ["head"]])
def test_of_several_classes_the_one_called_face_is_taken(tmp_path: Path, names: list[str]) -> None:
    detector = Detector(write_detector(tmp_path / "best.onnx", names=names), opened)
    assert len(detector.faces(photo((10, 20, 40, 60)))) == 1


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"names": "{0: 'car', 1: 'dog'}"}, r"it finds car, dog, and no class of it is called face"),
        ({"names": ""}, "it does not say which classes it finds"),
        ({"names": "{1: 'face'}"}, "it does not say which classes it finds"),
        ({"names": "__import__('os')"}, "it does not say which classes it finds"),
        ({"names": "{0: 'face', 1: 'dog'}"}, r"its output has the shape \(1, 5, 2\), not \(1, 6, places\)"),
        ({"imgsz": "640"}, "its imgsz is 640, not a height and a width"),
        ({"imgsz": "[99999, 640]"}, r"its imgsz is \[99999, 640\], not a height and a width"),
        ({"stride": "0"}, "its stride is 0"),
        ({"stride": "99999"}, "its stride is 99999"),
    ],
)
def test_a_detector_of_something_else_is_refused(tmp_path: Path, about: dict[str, str], said: str) -> None:
    path = write_detector(tmp_path / "best.onnx", about=about)
    with pytest.raises(DataError, match=rf"best.onnx is no face detector \({said}\): take an SCRFD network"):
        Detector(path, opened)


def test_another_network_is_refused(tmp_path: Path) -> None:
    pooled = [helper.make_node("GlobalAveragePool", ["images"], ["output0"])]
    flat = [helper.make_node("Flatten", ["images"], ["output0"])]
    cases: list[tuple[str, list[NodeProto], list[int | str], int, str]] = [
        ("embedding", flat, ["batch", 3, 2, 2], TensorProto.FLOAT, r"shape \(1, 12\)"),
        ("half", pooled, ["batch", 3, 64, 64], TensorProto.FLOAT16, "it does not take one picture in fp32"),
        ("batch", pooled, [4, 3, 64, 64], TensorProto.FLOAT, "invalid dimensions"),
    ]
    for name, nodes, shape, kind, said in cases:
        write_network(tmp_path / name, nodes, shape, {}, NAMES, kind)
        with pytest.raises(DataError, match=rf"{name} is no face detector \(.*{said}"):
            Detector(tmp_path / name, opened)


def test_a_box_tells_where_an_upright_face_has_its_points() -> None:
    transform = fit(points_in((100, 50, 160, 140)))
    side = np.sqrt(60 * 90)
    assert transform[:, :2] == pytest.approx(np.eye(2) * BOX_SIDE / side)
    assert transform @ (130, 95, 1) == pytest.approx(BOX_MIDDLE)
