"""Small jobs for containers: faces of people who do not exist, the smallest network, few steps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from facetrain.faces import write_folders
from tests.container.containers import lay_out
from training.jobs.contract import ContainerPaths

IDENTITIES, PICTURES = 8, 6
KNOBS = {
    "algorithm": "arcface",
    "network": "mbf",
    "epochs": 3,
    "batch_size": 8,
    "lr": 0.02,
    "holdout_fraction": 0.25,
    "log_interval": 1,
    "checkpoint_steps": 1,
    "compile": "off",
    "precision": "fp32",
}
STEPS = 12  # 36 images that are trained on, 8 a step, 3 epochs
FACETRAIN = 1000  # the image's user


def draw(folder: Path) -> Path:
    """A folder for each of eight people."""
    write_folders(folder, IDENTITIES, PICTURES)
    return folder


def job(base: Path, **knobs: Any) -> ContainerPaths:
    """A folder to be /opt/ml, whose images are mounted beside it."""
    values = {name: str(value) for name, value in (KNOBS | knobs).items()}
    config = {"input/config/hyperparameters.json": json.dumps(values), "input/data/images/": None}
    return ContainerPaths(lay_out(base, config))


def faces_at(faces: Path, channel: str = "images") -> tuple[str, ...]:
    """The option that mounts them as a channel."""
    return ("--volume", f"{faces}:/opt/ml/input/data/{channel}:ro")


def weights(paths: ContainerPaths) -> Mapping[str, torch.Tensor]:
    """Of the network that a job left."""
    state: dict[str, torch.Tensor] = torch.load(paths.model / "backbone.pth", weights_only=True)
    return state


def same(one: ContainerPaths, other: ContainerPaths) -> bool:
    """Whether two jobs left the same weights, bit for bit."""
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
