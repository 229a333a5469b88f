"""A detector as small as can be, in the form of a YOLOv5 job's best.onnx: it finds what is white."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper, save
from PIL import Image

Box = tuple[int, int, int, int]  # left, top, right, bottom


def photo(box: Box | None, size: tuple[int, int] = (200, 160)) -> Image.Image:
    """Dark, with a white box."""
    image = Image.new("RGB", size, (40, 60, 50))
    if box:
        image.paste((255, 255, 255), box)
    return image


def write_detector(
    path: Path,
    places: Sequence[tuple[float, float]] = ((0, 0.9), (0.05, 0.8)),
    *,
    names: Sequence[str] = ("face",),
    size: tuple[int | str, int | str] = ("height", "width"),
    about: Mapping[str, str] | None = None,
) -> Path:
    """places: boxes beside the white one, by shares of its width, and how sure the last class is of them.

    about: of the metadata what is other; size: of the input.
    """
    constants: dict[str, Any] = {
        "white": np.float32(0.9),
        "one": np.float32(1),
        "two": np.float32(2),
        "last": np.array([2], np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Greater", ["mean", "white"], ["is_white"]),
        helper.make_node("Cast", ["is_white"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["mask"], ["any"], axes=[2, 3], keepdims=0),
        *_extent("x", 2),
        *_extent("y", 3),
        helper.make_node("Sub", ["any", "any"], ["never"]),
    ]
    for number, (shift, score) in enumerate(places):
        constants |= {f"shift{number}": np.float32(shift), f"score{number}": np.float32(score)}
        row = [f"x{number}", "y_middle", "x_size", "y_size", *["never"] * (len(names) - 1), f"sure{number}"]
        nodes += [
            helper.make_node("Mul", ["x_size", f"shift{number}"], [f"by{number}"]),
            helper.make_node("Add", ["x_middle", f"by{number}"], [f"x{number}"]),
            helper.make_node("Mul", ["any", f"score{number}"], [f"sure{number}"]),
            helper.make_node("Concat", row, [f"row{number}"], axis=1),
            helper.make_node("Unsqueeze", [f"row{number}", "last"], [f"place{number}"]),
        ]
    nodes.append(
        helper.make_node("Concat", [f"place{number}" for number in range(len(places))], ["output0"], axis=2)
    )
    described = {"names": str(dict(enumerate(names))), "imgsz": "[160, 160]", "stride": "32"}
    write_network(path, nodes, ["batch", 3, *size], constants, described | dict(about or {}))
    return path


def _extent(axis: str, other: int) -> list[NodeProto]:
    """Middle and size of what is white along an axis; other: the one that is looked across."""
    ends = [
        helper.make_node(
            "ArgMax", [f"{axis}_any"], [f"{axis}_{end}"], axis=2, keepdims=0, select_last_index=last
        )
        for last, end in enumerate(("first", "last"))
    ]
    return [
        helper.make_node("ReduceMax", ["mask"], [f"{axis}_any"], axes=[other], keepdims=0),
        *ends,
        *(
            helper.make_node("Cast", [f"{axis}_{end}"], [f"{axis}_{end}_"], to=TensorProto.FLOAT)
            for end in ("first", "last")
        ),
        helper.make_node("Add", [f"{axis}_last_", "one"], [f"{axis}_end"]),
        helper.make_node("Sub", [f"{axis}_end", f"{axis}_first_"], [f"{axis}_size"]),
        helper.make_node("Add", [f"{axis}_end", f"{axis}_first_"], [f"{axis}_both"]),
        helper.make_node("Div", [f"{axis}_both", "two"], [f"{axis}_middle"]),
    ]


def write_network(
    path: Path,
    nodes: Sequence[NodeProto],
    shape: Sequence[int | str],
    constants: Mapping[str, Any],
    about: Mapping[str, str],
    kind: int = TensorProto.FLOAT,
) -> None:
    """From "images" of a shape and a kind to "output0"."""
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("images", kind, list(shape))],
        [helper.make_tensor_value_info("output0", kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(about))
    save(model, str(path))
