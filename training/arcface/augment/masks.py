"""Masks over mouth and nose, drawn where an aligned face has them.

ArcFace's template, in pixels of 112: eyes at (38, 52) and (74, 52), tip of the nose at (56, 72), corners of
the mouth at (42, 92) and (71, 92). Faces that are aligned otherwise get their mask in another place.
"""

from functools import cache
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.arcface.augment.bytes import SIDE, Draw, between, one_of, rounded

PARTS = 256
FINE = 2  # points that an edge pixel is sampled at, each way
MIDDLE = 56.0
WIDEST_AT = 84.0  # a mask keeps its width from its top to here
TOPS, DROOPS = (56.0, 62.0, 68.0), (4.0, 14.0)  # on the nose; lower at the sides by so much
HALF_WIDTHS, BOTTOMS, ROUNDNESS = (36.0, 40.0, 44.0), (106.0, 113.0), (2.0, 4.0)
# Surgical blue and green, white, grey, black; else any.
FABRICS = ((150, 196, 216), (150, 200, 178), (236, 236, 234), (120, 122, 126), (28, 28, 32))
ANY_FABRIC = 3  # of so many draws and those of FABRICS


class Masks:
    """uint8 (k, 112, 112, 3) with a mask on each: 72 shapes, smooth or pleated, moved by up to 3 pixels."""

    def __init__(self, device: torch.device):
        self.covers = _covers().to(device)
        self.lights = _in_parts(np.stack([_light(pleated=False), _light(pleated=True)])).to(device)
        self.fabrics = torch.tensor(FABRICS, dtype=torch.float32)

    def __call__(self, images: Tensor, draws: Draw) -> Tensor:
        device = images.device
        rows = torch.arange(SIDE) - (between(draws[:, 1], -3.5, 3.5, 1).long())[:, None]
        rows = rows.clamp_(0, SIDE - 1).to(device)
        cover = self.covers[one_of(draws[:, 0], len(self.covers)).to(device)]
        cover = cover.gather(1, rows[:, :, None].expand(-1, -1, SIDE))[..., None]
        light = self.lights[one_of(draws[:, 2], 2).to(device)][..., None]
        fabric = (light * self._fabrics(draws).to(device)[:, None, None]).round_()
        return rounded(images * (1 - cover) + fabric * cover)

    def _fabrics(self, draws: Draw) -> Tensor:
        """(k, 3): colours in 0 … 255."""
        index = one_of(draws[:, 3], len(FABRICS) + ANY_FABRIC)
        # Two draws are enough for three values: the third is their sum, past 1 from 0 again.
        numbers = np.stack([draws[:, 4], draws[:, 5], (draws[:, 4] + draws[:, 5]) % 1], axis=1)
        any_fabric = torch.from_numpy(np.floor(numbers * 256)).float()
        known = self.fabrics[index.clamp(max=len(FABRICS) - 1)]
        return torch.where((index < len(FABRICS))[:, None], known, any_fabric)


@cache
def _covers() -> Tensor:
    """(72, 112, 112), 1 where nothing shows through."""
    shapes = [_shape(*how) for how in product(TOPS, DROOPS, HALF_WIDTHS, BOTTOMS, ROUNDNESS)]
    return _in_parts(np.stack(shapes))


def _shape(top: float, droop: float, half_width: float, bottom: float, round_: float) -> NDArray[np.float64]:
    """(112, 112): the share of each pixel that mask or strap covers."""
    points = (np.arange(SIDE * FINE) + 0.5) / FINE
    aside, down = np.abs(points[None, :] - MIDDLE), points[:, None]
    edge = top + droop * (aside / half_width) ** 2
    below = ((down - WIDEST_AT) / (bottom - WIDEST_AT)).clip(0)
    body = (down >= edge) & ((aside / half_width) ** round_ + below**round_ <= 1)
    strap = np.abs(down - (top + droop + 3 - 0.2 * (aside - half_width))) < 1
    covered = body | (strap & (aside >= half_width - 2))
    shares: NDArray[np.float64] = covered.reshape(SIDE, FINE, SIDE, FINE).mean((1, 3))
    return shares


def _light(*, pleated: bool) -> NDArray[np.float64]:
    """(112, 112): darker to the sides, as what is round is, and in the folds."""
    across = 1 - 0.3 * ((np.arange(SIDE) - MIDDLE) / MIDDLE) ** 2
    folds = np.where(np.arange(SIDE) % 9 < 2, 0.85, 1.0) if pleated else np.ones(SIDE)
    return folds[:, None] * across


def _in_parts(shares: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.rint(shares * PARTS) / PARTS).float()
