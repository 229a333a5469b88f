"""Whose face a photo is about, and what a detector must be."""

from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

from training.formats.alignment import TEMPLATE
from training.formats.detector import Detector, Found
from training.formats.errors import DataError
from training.formats.faces import UnusableError, choose


def face(x: float, y: float, side: float) -> Found:
    return Found((x - side / 2, y - side / 2, x + side / 2, y + side / 2), 0.9, TEMPLATE)


@pytest.mark.parametrize(
    ("faces", "chosen"),
    [
        ([face(20, 20, 40)], 0),
        ([face(100, 100, 60), face(20, 20, 100)], 1),  # a passer-by, though in the middle
        ([face(30, 100, 70), face(105, 100, 60)], 1),  # of two alike, the one in the middle
    ],
)
def test_the_largest_face_is_taken_and_of_like_ones_the_one_in_the_middle(
    faces: list[Found], chosen: int
) -> None:
    assert choose(faces, (200, 200)) is faces[chosen]


def test_two_faces_side_by_side_are_no_photo_of_one_person() -> None:
    with pytest.raises(UnusableError, match="2 faces of similar size") as caught:
        choose([face(50, 100, 60), face(140, 100, 62), face(5, 5, 8)], (200, 200))
    assert caught.value.reason == "several_faces"


def test_a_photo_without_a_face_is_dropped() -> None:
    with pytest.raises(UnusableError, match="no face found"):
        choose([], (200, 200))


# -- The detector ------------------------------------------------------------------------------------------


def open_session(path: Path) -> object:
    return pytest.importorskip("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_a_file_that_is_no_network_is_no_detector(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(DataError, match=r"x.onnx is no face detector \("):
        Detector(tmp_path / "x.onnx", open_session)


def test_scrfd_without_landmarks_is_no_detector(tmp_path: Path) -> None:
    shape = [1, 3, 64, 64]
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    names = [f"same{number}" for number in range(6)]  # scores and boxes of three scales
    same = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
    nodes = [helper.make_node("Identity", ["input"], [name]) for name in names]
    graph = helper.make_graph(nodes, "same", [picture], same)
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(tmp_path / "x.onnx"))
    with pytest.raises(DataError, match=r"x.onnx is no face detector \(it finds no landmarks"):
        Detector(tmp_path / "x.onnx", open_session)


def test_without_the_packages_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.formats.detector.find_spec", lambda _name: None)
    with pytest.raises(
        DataError, match="opencv-python-headless, which are not installed here: install them, or"
    ):
        Detector(tmp_path / "x.onnx", open_session)
