"""Small things to train with: pictures, a network of two layers, and a job's folders."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from training.arcface.data.store import CachedImages, Dataset
from training.arcface.layers import PReLU
from training.formats.listing import Listing
from training.jobs.contract import ContainerPaths

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


class TinyNetwork(nn.Module):
    """Convolution, BatchNorm, PReLU and a linear layer: what the real ones are made of, at a thousandth."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 7, stride=16, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.prelu = PReLU(4)
        self.fc = nn.Linear(4 * 7 * 7, 512)
        self.features = nn.BatchNorm1d(512)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn(self.conv(x))).flatten(1)
        return self.features(self.fc(x))  # type: ignore[no-any-return]


def picture(identity: int, number: int) -> NDArray[np.uint8]:
    """A picture that shows whose it is: stripes for the identity, noise for the picture."""
    rng = np.random.default_rng([identity, number])
    stripes = np.sin(np.arange(112) * (identity + 1) / 9)[None, :, None] * 80 + 120
    return (stripes + rng.normal(0, 15, (112, 112, 3))).clip(0, 255).astype(np.uint8)


def dataset(identities: int, images: int) -> Dataset:
    """Pictures in memory, as if decoded."""
    pairs = [(f"{who}/{number}.png", f"{who}") for who in range(identities) for number in range(images)]
    pixels = np.stack([picture(who, number) for who in range(identities) for number in range(images)])
    return Dataset(Listing.of(Path("none"), pairs), CachedImages(pixels, np.arange(len(pairs))))


def write_pictures(folder: Path, identities: int, images: int) -> Path:
    """A folder for each identity: 0/0.png, 0/1.png, …"""
    for who in range(identities):
        for number in range(images):
            path = folder / str(who) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(who, number)).save(path, compress_level=1)
    return folder


def write_job(base: Path, hyperparameters: Mapping[str, Any]) -> ContainerPaths:
    """The folders of a job as the service lays them out; values are strings there."""
    paths = ContainerPaths(base)
    paths.config.mkdir(parents=True, exist_ok=True)
    paths.channel("images").parent.mkdir(parents=True, exist_ok=True)
    text = {name: str(value) for name, value in hyperparameters.items()}
    paths.hyperparameters.write_text(json.dumps(text))
    return paths
