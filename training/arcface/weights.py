"""Weights to start from: the weights channel, in arcface_torch's layout."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.arcface.backbones import fitting
from training.arcface.errors import TrainingError, first_line
from training.jobs.problems import did_you_mean

SUFFIXES = (".pth", ".pt")


def choose(channel: Path, name: str) -> Path | None:
    """The weight file to start from: `name`, or the only one there; None without a weights channel."""
    if not channel.is_dir():
        if name:
            raise TrainingError(f'pretrained: "{name}" is asked for, but the job has no weights channel')
        return None
    files = {path.name: path for path in sorted(channel.rglob("*")) if path.suffix in SUFFIXES}
    if name:
        if name not in files:
            raise TrainingError(f'pretrained: channels.weights has no "{name}"{did_you_mean(name, files)}')
        return files[name]
    if len(files) != 1:
        raise TrainingError(
            f"channels.weights: {len(files)} weight files ({', '.join(SUFFIXES)}) where one is expected"
            f"{': name one with the hyperparameter pretrained' if files else ''}"
        )
    return next(iter(files.values()))


def load_into(backbone: nn.Module, path: Path, network: str) -> None:
    """Loads strictly, on the CPU; runs no code from the file.

    Raises TrainingError saying which network fits.
    """
    state = _backbone_state(_read(path))
    own = backbone.state_dict()
    if {key: value.shape for key, value in state.items()} != {key: value.shape for key, value in own.items()}:
        fits = fitting(state)
        remedy = f"they are those of {' or '.join(fits)}: set network" if fits else "they fit no network here"
        raise TrainingError(f"channels.weights: {path.name} does not hold weights of {network}; {remedy}")
    if bad := [key for key, value in state.items() if not torch.isfinite(value).all()]:
        raise TrainingError(
            f"channels.weights: {path.name} has NaN or infinite values in {bad[0]}: take another"
        )
    backbone.load_state_dict(state)


def _read(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        message = f"channels.weights: {path.name} is not a weight file ({first_line(error)})"
        raise TrainingError(message) from None


def _backbone_state(value: Any) -> dict[str, Tensor]:
    """The tensors by key: a state dict, or a training checkpoint that holds one; DDP's prefix is dropped."""
    for key in ("state_dict_backbone", "state_dict", "backbone"):
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    if not isinstance(value, Mapping):
        return {}
    return {
        key.removeprefix("module."): tensor for key, tensor in value.items() if isinstance(tensor, Tensor)
    }
