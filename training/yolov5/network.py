"""Which network a job trains: one of the five sizes, or the cfg channel's own, as YOLOv5 v6.2 describes it.

A description is v6.2's own: `nc`, `depth_multiple`, `width_multiple`, `anchors`, and `backbone` and `head`,
lists of [from, number, module, arguments]. What ultralytics builds of it has v6.2's layers but for the last,
which predicts boxes without anchors (its "YOLOv5u").
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from training.container.errors import TrainingError

# depth_multiple and width_multiple of v6.2's models/yolov5{n,s,m,l,x}.yaml
SIZES: Mapping[str, tuple[float, float]] = {
    "yolov5n": (0.33, 0.25),
    "yolov5s": (0.33, 0.50),
    "yolov5m": (0.67, 0.75),
    "yolov5l": (1.0, 1.0),
    "yolov5x": (1.33, 1.25),
}
# The modules of v6.2's models/ that ultralytics has, too, with the same arguments.
MODULES = frozenset(
    (
        *(
            "Conv",
            "DWConv",
            "GhostConv",
            "GhostBottleneck",
            "Bottleneck",
            "BottleneckCSP",
            "C3",
            "C3TR",
            "C3Ghost",
        ),
        *("C3x", "SPP", "SPPF", "Focus", "Concat", "ConvTranspose", "Detect"),
        *("nn.Upsample", "nn.Conv2d", "nn.ConvTranspose2d", "nn.MaxPool2d", "nn.ZeroPad2d", "nn.Identity"),
    )
)
WITHOUT_ANCHORS = "anchors: boxes are predicted without anchors"


@dataclass(frozen=True)
class Network:
    """What is built. unused: what the description says and nothing takes up, as the log tells it."""

    name: str
    layers: Mapping[str, Any]
    unused: tuple[str, ...] = field(default=())


def of_size(name: str) -> Network:
    """One of SIZES."""
    depth, width = SIZES[name]
    layers = {"depth_multiple": depth, "width_multiple": width, "backbone": _BACKBONE, "head": _HEAD}
    return Network(name, deepcopy(layers))


def is_description(document: object) -> bool:
    return isinstance(document, Mapping) and "backbone" in document and "head" in document


def described(document: Mapping[str, Any], place: str) -> Network:
    """The network of a model's YAML. place: its file, for messages. Raises TrainingError."""
    unused = [WITHOUT_ANCHORS] if "anchors" in document else []
    layers: dict[str, Any] = {}
    for name in ("depth_multiple", "width_multiple"):
        layers[name] = _multiple(document.get(name, 1.0), f"{place}: {name}")
    if document.get("activation") not in (None, "nn.SiLU()"):
        unused.append(f"activation {document['activation']}: it is nn.SiLU()")
    for part in ("backbone", "head"):
        rows = document[part]
        if not isinstance(rows, list) or not rows:
            raise TrainingError(f"{place}: {part} must be a list of [from, number, module, arguments]")
        layers[part] = [_row(row, f"{place}: {part}, row {number}") for number, row in enumerate(rows, 1)]
    last = layers["head"][-1]
    if last[2] != "Detect" or not isinstance(last[0], list):
        raise TrainingError(f"{place}: the head's last row must be [[layers], 1, Detect, [nc, anchors]]")
    if known := {"nc"} - set(map(str, last[3][:1])):
        raise TrainingError(f"{place}: Detect's first argument must be {', '.join(known)}")
    last[3] = ["nc"]
    return Network(place.rsplit("/", 1)[-1].rsplit(".", 1)[0], layers, tuple(unused))


def _multiple(value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 4:
        raise TrainingError(f"{place} must be a number above 0 and at most 4, such as 0.33")
    return float(value)


def _row(row: object, place: str) -> list[Any]:
    """Its four parts, each of the kind that it must have: what builds the network evaluates texts."""
    if not isinstance(row, list) or len(row) != 4:
        raise TrainingError(f"{place} is not [from, number, module, arguments]")
    source, number, module, arguments = row
    sources = source if isinstance(source, list) else [source]
    if not sources or not all(_is_whole(one) for one in sources):
        raise TrainingError(f"{place}: from must be the number of a layer, or a list of such")
    if not _is_whole(number) or not 1 <= number <= 100:
        raise TrainingError(f"{place}: number must be a whole number from 1 to 100")
    if not isinstance(module, str) or module not in MODULES:
        raise TrainingError(
            f"{place}: no module {str(module)[:40]!r} is known: those of YOLOv5 v6.2's detectors are "
            f"{', '.join(sorted(MODULES))}"
        )
    if not isinstance(arguments, list) or not all(_is_plain(one) for one in arguments):
        raise TrainingError(f"{place}: the arguments must be a list of numbers and of v6.2's words")
    return [source, number, module, [_argument(one) for one in arguments]]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


WORDS = ("nc", "anchors", "None", "nearest", "bilinear", "False", "True")


def _is_plain(value: object) -> bool:
    """A number, one of v6.2's words, or a list of numbers, such as the sizes of SPP."""
    if isinstance(value, list):
        return all(isinstance(one, int | float) for one in value)
    return value is None or isinstance(value, int | float) or value in WORDS


def _argument(value: Any) -> Any:
    """What YAML leaves as a text where v6.2 has Python evaluate it."""
    return {"None": None, "False": False, "True": True}.get(value, value) if isinstance(value, str) else value


# v6.2's models/yolov5*.yaml: the five differ in their multiples alone. Detect's anchors are left out.
_BACKBONE: Sequence[Sequence[Any]] = [
    [-1, 1, "Conv", [64, 6, 2, 2]],
    [-1, 1, "Conv", [128, 3, 2]],
    [-1, 3, "C3", [128]],
    [-1, 1, "Conv", [256, 3, 2]],
    [-1, 6, "C3", [256]],
    [-1, 1, "Conv", [512, 3, 2]],
    [-1, 9, "C3", [512]],
    [-1, 1, "Conv", [1024, 3, 2]],
    [-1, 3, "C3", [1024]],
    [-1, 1, "SPPF", [1024, 5]],
]
_HEAD: Sequence[Sequence[Any]] = [
    [-1, 1, "Conv", [512, 1, 1]],
    [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
    [[-1, 6], 1, "Concat", [1]],
    [-1, 3, "C3", [512, False]],
    [-1, 1, "Conv", [256, 1, 1]],
    [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
    [[-1, 4], 1, "Concat", [1]],
    [-1, 3, "C3", [256, False]],
    [-1, 1, "Conv", [256, 3, 2]],
    [[-1, 14], 1, "Concat", [1]],
    [-1, 3, "C3", [512, False]],
    [-1, 1, "Conv", [512, 3, 2]],
    [[-1, 10], 1, "Concat", [1]],
    [-1, 3, "C3", [1024, False]],
    [[17, 20, 23], 1, "Detect", ["nc"]],
]
