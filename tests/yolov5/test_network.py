"""Networks as YOLOv5 v6.2 describes them."""

from typing import Any

import pytest
import yaml

from tests.yolov5.files import MODEL
from training.container.errors import TrainingError
from training.yolov5 import network


def document(**changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load(MODEL), **changes}


def test_v62s_own_file_describes_the_network_of_that_size() -> None:
    found = network.described(document(), "cfg/yolov5s.yaml")
    assert found.layers == network.of_size("yolov5s").layers
    assert found.name == "yolov5s"
    assert found.unused == ("anchors: boxes are predicted without anchors",)


def test_the_sizes_differ_in_their_multiples_alone() -> None:
    small, large = network.of_size("yolov5n").layers, network.of_size("yolov5x").layers
    assert {name for name in small if small[name] != large[name]} == {"depth_multiple", "width_multiple"}


def test_what_would_be_evaluated_is_refused() -> None:
    rows = [[-1, 1, "Conv", ["__import__('os').getcwd()", 3, 2]]]
    with pytest.raises(TrainingError, match=r"^cfg/x.yaml: backbone, row 1: the arguments must be a list of"):
        network.described(document(backbone=rows), "cfg/x.yaml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": [[-1, 1, "C2f", [64]]]}, "backbone, row 1: no module 'C2f' is known"),
        ({"backbone": [[-1, 1, ["Conv"], [64]]]}, r"backbone, row 1: no module \"\['Conv'\]\" is known"),
        ({"backbone": [[-1, 1, "Conv"]]}, r"backbone, row 1 is not \[from, number, module, arguments\]"),
        ({"backbone": [["a", 1, "Conv", []]]}, "backbone, row 1: from must be the number of a layer"),
        ({"backbone": [[-1, 0, "Conv", []]]}, "backbone, row 1: number must be a whole number from 1"),
        ({"backbone": [[-1, 1, "SPP", [64, [[5]]]]]}, "backbone, row 1: the arguments must be a list of"),
        ({"backbone": []}, "backbone must be a list"),
        ({"head": [[-1, 1, "Conv", [64]]]}, "the head's last row must be"),
        ({"head": [[[1, 2], 1, "Detect", [3]]]}, "Detect's first argument must be nc"),
        ({"depth_multiple": "s"}, "depth_multiple must be a number above 0"),
        ({"width_multiple": 0}, "width_multiple must be a number above 0"),
    ],
)
def test_what_is_wrong_with_a_description_is_told_with_its_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=f"^cfg/mine.yaml: {said}"):
        network.described(document(**changes), "cfg/mine.yaml")


@pytest.mark.usefixtures("ultralytics")
def test_layers_that_do_not_fit_together_are_refused() -> None:
    from training.yolov5 import learner  # noqa: PLC0415
    from training.yolov5.settings import Settings  # noqa: PLC0415

    head = [[[17, 99], 1, "Detect", ["nc", "anchors"]]]
    found = network.described(document(head=head), "cfg/mine.yaml")
    with pytest.raises(TrainingError, match=r"^the network mine cannot be built \(list index out of range\)"):
        learner.build(found, ("face",), Settings())
