"""Our networks are arcface_torch's: the same weights, the same embeddings.

The golden values were measured from the original networks themselves: deepinsight/insightface at 7fadd420,
recognition/arcface_torch/backbones, filled by `fill`, with torch 2.13 on a CPU. Where a checkout is at hand,
the two are compared directly, all sizes and both directions:

    FACETRAIN_ARCFACE_TORCH=…/recognition/arcface_torch pytest tests/arcface/test_original_networks.py
"""

import hashlib
import importlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training.arcface import backbones

CHECKOUT = os.environ.get("FACETRAIN_ARCFACE_TORCH", "")

# Parameters, and a digest of the sorted keys and shapes.
LAYOUT = {
    "r18": (24_025_600, "6bdb508fbe8f9172"),
    "r34": (34_139_328, "88f842de492690dd"),
    "r50": (43_590_848, "d80a68220d7280f1"),
    "r100": (65_156_160, "dc48aa67c7449a7c"),
    "r200": (118_833_920, "be360d6469b1859b"),
    "mbf": (2_059_520, "a5470f4e8d3847b1"),
    "mbf_large": (6_314_880, "e93eb03a7306f387"),
    "vit_t": (19_137_792, "f49edb5df3d3deb3"),
    "vit_s": (76_023_296, "80d38dc0608bd679"),
    "vit_b": (113_833_472, "817876b06d60f50c"),
}

# For each of two images the first three values of its embedding, and its length.
EMBEDDINGS = {
    "r18": ((-0.031149, -0.105207, 0.018673, 4.374058), (0.203083, 0.272427, 0.092252, 4.234648)),
    "mbf": ((-0.102369, 0.203483, 0.110022, 1.473756), (-0.102033, 0.204478, 0.106080, 1.472776)),
    "vit_t": ((0.170991, -0.523275, 0.271328, 9.712089), (-0.171592, -0.553282, -0.006855, 9.746337)),
}


def uniform(shape: tuple[int, ...], seed: int) -> Tensor:
    """Numbers in [-1, 1) that are the same on every machine: hashes of their places."""
    mask = 0xFFFFFFFF
    x = torch.arange(1, math.prod(shape) + 1) * 2654435761 + seed * 40503
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        x = ((x & mask) ^ ((x & mask) >> shift)) * factor
    return ((x & mask).double() / 2**31 - 1).float().reshape(shape)


def fill(network: nn.Module) -> nn.Module:
    """Sets every value, so that each of them counts and activations keep their size."""
    for seed, (key, value) in enumerate(sorted(network.state_dict().items())):
        noise = uniform(tuple(value.shape), seed)
        if key.endswith("num_batches_tracked"):
            value.zero_()
        elif key.endswith("running_var"):
            value.copy_(1 + noise / 2)
        elif value.dim() > 1:
            value.copy_(noise * (3 * value.shape[0] / value.numel()) ** 0.5)
        elif key.endswith("weight") and key != "features.weight":
            value.copy_(0.7 + noise / 4)
        elif not key.endswith("weight"):
            value.copy_(noise / 20)
    return network.eval()


def images() -> Tensor:
    return uniform((2, 3, 112, 112), seed=9)


def digest(state: dict[str, Tensor]) -> str:
    lines = [f"{key} {tuple(value.shape)}" for key, value in sorted(state.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", backbones.NAMES)
def test_a_network_has_the_originals_parameters_keys_and_shapes(name: str) -> None:
    with torch.device("meta"):
        network = backbones.build(name)
    parameters = sum(weight.numel() for weight in network.parameters())
    assert (parameters, digest(network.state_dict())) == LAYOUT[name]


@pytest.mark.parametrize("name", EMBEDDINGS)
@torch.no_grad()
def test_a_network_gives_the_originals_embeddings(name: str) -> None:
    embeddings = fill(backbones.build(name))(images())
    found = torch.cat([embeddings[:, :3], embeddings.norm(dim=1, keepdim=True)], 1)
    torch.testing.assert_close(found, torch.tensor(EMBEDDINGS[name]), rtol=1e-5, atol=1e-5)


# -- With a checkout of the original -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def original() -> Iterator[Any]:
    """Builds an original network by its name."""
    if not CHECKOUT:
        pytest.skip("FACETRAIN_ARCFACE_TORCH names no checkout of recognition/arcface_torch")
    before = dict(sys.modules)
    sys.modules.update(timm_in_part())
    sys.path.insert(0, str(Path(CHECKOUT)))
    try:
        yield importlib.import_module("backbones").get_model
    finally:
        sys.path.remove(str(Path(CHECKOUT)))
        for name in set(sys.modules) - set(before):
            if name.split(".")[0] in {"timm", "backbones"}:
                del sys.modules[name]


def timm_in_part() -> dict[str, ModuleType]:
    """What the original takes from timm, which is not installed here. In eval mode DropPath does nothing."""
    modules = {name: ModuleType(name) for name in ("timm", "timm.models", "timm.models.layers")}
    layers: Any = modules["timm.models.layers"]
    layers.DropPath, layers.to_2tuple = nn.Dropout, lambda value: (value, value)
    layers.trunc_normal_ = nn.init.trunc_normal_
    return modules


@pytest.mark.filterwarnings("ignore")  # the original's autocast is of an earlier PyTorch
@pytest.mark.parametrize("name", backbones.NAMES)
@torch.no_grad()
def test_weights_move_between_ours_and_the_original(name: str, original: Any) -> None:
    theirs, ours = fill(original(name)), backbones.build(name).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    expected = theirs(images())
    torch.testing.assert_close(ours(images()), expected, rtol=0, atol=1e-5)
    theirs.load_state_dict(fill(ours).state_dict(), strict=True)
    torch.testing.assert_close(theirs(images()), expected, rtol=0, atol=0)
