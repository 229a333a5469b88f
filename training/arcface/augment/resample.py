"""Crop, blur and low resolution: rows and columns of an image as weighted means of its rows and columns.

Weights are whole 256ths and no row of them sums to more than 1, so both sums are exact in fp32.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.arcface.augment.bytes import SIDE, Draw, between, one_of, rounded, whole_parts

PARTS = 256
ZOOM = (0.8, 1.25)  # least and greatest
SHIFT = 10  # pixels, at the most
SIGMAS = np.linspace(0.4, 2.4, 16)  # pixels
STREAKS = (3, 5, 7, 9)  # pixels that a movement smears
SIDES = range(20, 92, 4)  # pixels of a face of low resolution


def resampled(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """uint8 (k, 112, 112, 3). Row i becomes the sum of rows by down[:, i], (k, 112); columns alike."""
    count = len(images)
    planes = images.permute(0, 1, 3, 2).to(torch.float32, memory_format=torch.contiguous_format)
    planes = planes.view(count, SIDE * 3, SIDE) @ across.mT
    planes = down @ planes.view(count, SIDE, 3 * SIDE)
    return rounded(planes.view(count, SIDE, 3, SIDE).permute(0, 1, 3, 2))


class Crop:
    """Zoomed and shifted, as by a detector that is a little off; black where the picture has no more.

    A border of black is what aligning leaves at the edge of a photograph.
    """

    def __init__(self, device: torch.device):
        self.pixels = torch.arange(SIDE, dtype=torch.float32, device=device)

    def __call__(self, images: Tensor, draws: Draw) -> Tensor:
        apart = between(draws[:, 0], 1 / ZOOM[1], 1 / ZOOM[0])
        down, across = (self._weights(apart, between(draws[:, axis], -SHIFT, SHIFT)) for axis in (1, 2))
        return resampled(images, down, across)

    def _weights(self, apart: Tensor, shift: Tensor) -> Tensor:
        """Linear interpolation `apart` (k,) pixels apart about the middle, moved by `shift` (k,) pixels."""
        middle = (SIDE - 1) / 2
        places = (torch.arange(SIDE) - middle) * apart[:, None] + shift[:, None] + middle
        places = (places * PARTS).round_().div_(PARTS).to(self.pixels.device)
        return (places[:, :, None] - self.pixels).abs_().neg_().add_(1).clamp_(min=0)


class Blur:
    """Out of focus (Gaussian), or moved across or up and down, each a third of the time."""

    def __init__(self, device: torch.device):
        self.table = _kernels().to(device)

    def __call__(self, images: Tensor, draws: Draw) -> Tensor:
        kind, streak = one_of(draws[:, 0], 3), 1 + one_of(draws[:, 1], len(STREAKS))
        soft = 1 + len(STREAKS) + one_of(draws[:, 1], len(SIGMAS))
        nothing = torch.zeros_like(kind)
        down = torch.where(kind == 0, soft, torch.where(kind == 1, streak, nothing))
        across = torch.where(kind == 0, soft, torch.where(kind == 2, streak, nothing))
        return resampled(images, *(self.table[index.to(images.device)] for index in (down, across)))


class LowRes:
    """Made small by the mean of areas, then large again in squares or smoothly."""

    def __init__(self, device: torch.device):
        pairs = [(_nearest, _linear)[smooth](side) @ _area(side) for smooth in (0, 1) for side in SIDES]
        self.table = torch.stack([whole_parts(pair, PARTS) for pair in pairs]).to(device)

    def __call__(self, images: Tensor, draws: Draw) -> Tensor:
        weights = self.table[one_of(draws[:, 0], len(self.table)).to(images.device)]
        return resampled(images, weights, weights)


# -- Weights -----------------------------------------------------------------------------------------------


@cache
def _kernels() -> Tensor:
    """(1 + streaks + sigmas, 112, 112): nothing, each streak, each Gaussian."""
    kernels = [np.ones(1), *(np.ones(length) for length in STREAKS), *map(_gaussian, SIGMAS)]
    return whole_parts(np.stack([_spread(kernel) for kernel in kernels]), PARTS)


def _gaussian(sigma: float) -> NDArray[np.float64]:
    reach = int(np.ceil(3 * sigma))
    return np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)


def _spread(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """(112, 112): each pixel the mean of its neighbours by `kernel`; beyond the edge is more of the edge."""
    reach = len(kernel) // 2
    weights = np.zeros((SIDE, SIDE))
    for row in range(SIDE):
        neighbours = np.clip(np.arange(row - reach, row + reach + 1), 0, SIDE - 1)
        np.add.at(weights[row], neighbours, kernel / kernel.sum())
    return weights


def _area(side: int) -> NDArray[np.float64]:
    """(side, 112): each small pixel the mean of what it covers."""
    edges, pixels = np.arange(side + 1) * SIDE / side, np.arange(SIDE)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return covered.clip(0) * side / SIDE


def _nearest(side: int) -> NDArray[np.float64]:
    """(112, side)"""
    return np.eye(side)[(2 * np.arange(SIDE) + 1) * side // (2 * SIDE)]


def _linear(side: int) -> NDArray[np.float64]:
    """(112, side)"""
    places = ((np.arange(SIDE) + 0.5) * side / SIDE - 0.5).clip(0, side - 1)
    weights: NDArray[np.float64] = (1 - np.abs(places[:, None] - np.arange(side))).clip(0)
    return weights
