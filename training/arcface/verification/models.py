"""Any model as something that embeds: weights of the networks here, or an ONNX program."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from training.arcface import weights
from training.arcface.backbones import IMAGE_SIZE, fitting
from training.arcface.weightfiles import OF_ONE_JOB
from training.container.errors import TrainingError, first_line

ONNX = ".onnx"
# What an ONNX program may begin with where it normalises by itself: then it wants 0 … 255.
_NORMALISING = ("Sub", "Mul", "Div", "Add")


@dataclass(frozen=True)
class Model:
    """embed: as `evaluate` wants it; kind: a network's name, or onnx."""

    name: str
    kind: str
    embed: Callable[[Tensor], Tensor]


def load(path: Path, device: torch.device) -> Model:
    """A model's file, a folder that a job left, or its model.tar.gz.

    Raises TrainingError where it is none of these, no network here has such weights, or it does not embed.
    """
    if not path.exists():
        raise TrainingError(
            f"there is no {path}: name a folder, a weight file, an ONNX file or a model.tar.gz"
        )
    path = _file_of(path) if path.is_dir() else path
    if path.suffix == ONNX:
        model = Model(path.name, "onnx", of_onnx(path))
    else:
        network = weights.load_network(path)
        model = Model(path.name, fitting(network.state_dict())[0], of_network(network, device))
    _try(model, device)
    return model


def _try(model: Model, device: torch.device) -> None:
    """Raises TrainingError where two grey pictures do not get an embedding each."""
    try:
        embedded = model.embed(torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE, device=device))
    except Exception as error:  # noqa: BLE001  (ONNX Runtime's exceptions have no common base)
        raise TrainingError(f"{model.name} does not run: {first_line(error)}") from None
    if embedded.ndim != 2 or len(embedded) != 2 or not embedded.isfinite().all():
        raise TrainingError(
            f"{model.name} gives {tuple(embedded.shape)} for two pictures, or values that are not finite: a "
            f"recognition model gives an embedding for each"
        )


def _file_of(folder: Path) -> Path:
    """The model in a folder: what a job writes, or the only file that could be one."""
    for name in OF_ONE_JOB:
        if (folder / name).is_file():
            return folder / name
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.name.endswith(weights.SUFFIXES) and path.name not in weights.COMPANIONS
    ]
    if len(found) != 1:
        raise TrainingError(
            f"{folder} holds {len(found)} files that could be a model ({', '.join(weights.SUFFIXES)}): "
            f"name the file"
        )
    return found[0]


def of_network(network: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    """In float32, whatever the device could do faster: these figures are compared with others'."""
    network = network.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @torch.no_grad()
    def embed(images: Tensor) -> Tensor:
        return nn.functional.normalize(network(images).float() + network(images.flip(3)).float())

    return embed


def of_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    """A program of one input (n, 3, 112, 112) and one output (n, d); n may be fixed at 1.

    One that normalises by itself gets RGB from 0 to 255. Raises TrainingError for any other program.
    """
    try:
        session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
        raw = _normalises(path)
    except Exception as error:  # noqa: BLE001  (ONNX Runtime's exceptions have no common base)
        raise TrainingError(f"{path.name} is no ONNX program that runs here: {first_line(error)}") from None
    (given, *more), outputs = session.get_inputs(), session.get_outputs()
    if (
        more
        or len(given.shape) != 4
        or [_fixed(side, IMAGE_SIZE) for side in given.shape[2:]] != [IMAGE_SIZE] * 2
    ):
        raise TrainingError(
            f"{path.name} takes {given.shape}, where a recognition model takes one input (n, 3, 112, 112)"
        )
    size = _fixed(given.shape[0], 0)

    def run(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        parts = [images] if not size else np.split(images, range(size, len(images), size))
        return np.concatenate([session.run([outputs[0].name], {given.name: part})[0] for part in parts])

    def embed(images: Tensor) -> Tensor:
        pixels = images.cpu().contiguous().numpy()
        pixels = (pixels + 1) * 127.5 if raw else pixels
        both = run(pixels) + run(np.ascontiguousarray(pixels[..., ::-1]))
        return nn.functional.normalize(torch.from_numpy(both).flatten(1)).to(images.device)

    return embed


def _fixed(side: Any, otherwise: int) -> int:
    """A dimension that the program fixes, for others have names or none."""
    return side if isinstance(side, int) and side > 0 else otherwise


def _normalises(path: Path) -> bool:
    graph = onnx.load(str(path), load_external_data=False).graph
    weights_of = {value.name for value in graph.initializer}
    first = next(value.name for value in graph.input if value.name not in weights_of)
    return any(first in node.input and node.op_type in _NORMALISING for node in graph.node)
