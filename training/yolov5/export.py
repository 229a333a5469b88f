"""The detector as files: a checkpoint as ultralytics reads it, and ONNX, compared with it first."""

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from ultralytics import __version__
from ultralytics.nn.modules import Detect

from training.container.aside import written_aside
from training.container.errors import TrainingError

OPSET = 17
LICENSE = "AGPL-3.0 License (https://ultralytics.com/license)"
MOST_APART = 1e-2  # of a score, or as a share of the picture's side of a place: fp32 rounding is far below


def write_checkpoint(network: nn.Module, path: Path, settings: Mapping[str, Any], step: int) -> None:
    """What `YOLO("best.pt")` loads, in half precision as ultralytics writes it."""
    plain = _plain(network).half()
    plain.criterion, plain.args = None, dict(vars(plain.args))
    for value in plain.parameters():
        value.requires_grad = False
    content = {
        "epoch": -1,
        "step": step,
        "model": plain,
        "ema": None,
        "optimizer": None,
        "train_args": dict(plain.args),
        "facetrain": dict(settings),
        "version": __version__,
        "license": LICENSE,
    }
    with written_aside(path) as aside:
        torch.save(content, aside)


def write_onnx(network: nn.Module, path: Path, classes: Sequence[str], image_size: int) -> None:
    """Input "images" (batch, 3, height, width), RGB from 0 to 1; "output0" (batch, 4 + classes, places).

    The first four rows are x, y, width and height in pixels, the others each class's score. Raises
    RuntimeError where ONNX Runtime finds something else than PyTorch, TrainingError where that is no number.
    """
    plain = _plain(network).float().fuse(verbose=False)
    for module in plain.modules():
        if isinstance(module, Detect):
            module.export, module.format, module.dynamic = True, "onnx", True
    example = torch.rand(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain(example)  # makes the places for this size
        expected = plain(example)
    with written_aside(path) as aside:
        _trace(plain, example, aside)
        _describe(aside, classes, image_size, plain.stride)
        _compare(aside, example, expected, image_size)


def _plain(network: nn.Module) -> Any:
    """A copy on the CPU."""
    copied: Any = deepcopy(network)
    return copied.to("cpu", memory_format=torch.contiguous_format).eval()


def _trace(network: nn.Module, example: torch.Tensor, path: Path) -> None:
    axes = {"images": {0: "batch", 2: "height", 3: "width"}, "output0": {0: "batch", 2: "places"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracing exporter; the newer one takes ten times as long
        torch.onnx.export(
            network,
            (example,),
            str(path),
            input_names=["images"],
            output_names=["output0"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def _describe(path: Path, classes: Sequence[str], image_size: int, stride: torch.Tensor) -> None:
    """What ultralytics and others read from the file, so that nobody has to be told."""
    model = onnx.load(path)
    onnx.helper.set_model_props(
        model,
        {
            "description": "YOLOv5 detector",
            "license": LICENSE,
            "version": __version__,
            "stride": str(int(stride.max())),
            "task": "detect",
            "batch": "1",
            "imgsz": str([image_size, image_size]),
            "names": str(dict(enumerate(classes))),
            "args": str({"dynamic": True}),  # a literal of Python's, as `names`
            "channels": "3",
            "end2end": "False",
        },
    )
    onnx.save(model, path)


def _compare(path: Path, example: torch.Tensor, expected: torch.Tensor, image_size: int) -> None:
    wanted = expected.numpy()
    if not np.isfinite(wanted).all():
        raise TrainingError("what the network predicts is no number: there is no model to write: lower lr")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (1, 2):  # one size could have been frozen into the graph
        got = session.run(None, {"images": example[:batch].numpy()})[0]
        apart = np.abs(got - wanted[:batch])
        apart[:, :4] /= image_size
        if apart.max() > MOST_APART:
            raise RuntimeError(f"ONNX differs from PyTorch by {apart.max():.4f} at batch {batch}")
