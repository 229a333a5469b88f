"""Between bytes, the integers that they are in fp32, and draws."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SIDE = 112
Draw = NDArray[np.float64]  # numbers in [0, 1), one for each image


def rounded(values: Tensor) -> Tensor:
    """To the nearest byte, halves to the even one."""
    return values.round_().clamp_(0, 255).to(torch.uint8)


def between(draw: Draw, low: float, high: float, steps: int = 256) -> Tensor:
    """Evenly in low … high, as whole parts of 1 / `steps`: (k,) fp32 on the host."""
    return torch.from_numpy(np.rint((low + (high - low) * draw) * steps) / steps).float()


def one_of(draw: Draw, count: int) -> Tensor:
    """0 … count - 1, each as often: (k,) int64 on the host."""
    return torch.from_numpy((draw * count).astype(np.int64))


def whole_parts(weights: NDArray[np.float64], parts: int) -> Tensor:
    """Rows that sum to 1, as whole parts of it that still do: the largest remainders are rounded up."""
    scaled = weights * parts
    floors = np.floor(scaled)
    missing = np.rint(parts - floors.sum(-1)).astype(int)
    rank = np.argsort(np.argsort(floors - scaled, axis=-1, kind="stable"), axis=-1)
    return torch.from_numpy((floors + (rank < missing[..., None])) / parts).float()
