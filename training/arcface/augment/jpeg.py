"""What a JPEG file loses, without the file: colour at half the size, and 8 x 8 cosines in coarse steps.

ITU-T T.81 (JPEG): the transform is its A.3.3, the tables of steps its K.1 and K.2; quality scales them as in
the Independent JPEG Group's library (jcparam.c); the conversion is JFIF's. Coding loses nothing, and is left
out.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from training.arcface.augment.bytes import Draw, one_of, rounded

QUALITIES = range(20, 91)
PARTS = 4096
BLOCK = 8
# fmt: off
LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61,  12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,  14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,  24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,  72, 92, 95, 98, 112, 100, 103, 99,
)
CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99,  18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,  47, 66, 99, 99, 99, 99, 99, 99,
) + (99,) * 32
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
TO_RGB = ((1, 0, 1.402), (1, -0.344136, -0.714136), (1, 1.772, 0))
# fmt: on


class Jpeg:
    """uint8 (k, 112, 112, 3) as if saved at a quality of 20 to 90 and read again."""

    def __init__(self, device: torch.device):
        self.cosines = _exact(_cosines()).to(device)
        self.to_ycc, self.to_rgb = (_exact(np.array(matrix)).to(device) for matrix in (TO_YCC, TO_RGB))
        steps = [[_steps(base, quality) for base in (LUMINANCE, CHROMINANCE)] for quality in QUALITIES]
        self.steps = torch.tensor(steps, dtype=torch.float32, device=device)  # (qualities, 2, 64)

    def __call__(self, images: Tensor, draws: Draw) -> Tensor:
        steps = self.steps[one_of(draws[:, 0], len(QUALITIES)).to(images.device)]
        planes = (images.float() @ self.to_ycc.mT).round_().permute(0, 3, 1, 2)
        # Grey values are taken around 128; those of colour are already around 0.
        grey = self._through(planes[:, :1] - 128, steps[:, :1]) + 128
        halved = avg_pool2d(planes[:, 1:], 2).round_()
        colour = interpolate(self._through(halved, steps[:, 1:]), scale_factor=2, mode="nearest")
        return rounded(torch.cat([grey, colour], 1).permute(0, 2, 3, 1) @ self.to_rgb.mT)

    def _through(self, planes: Tensor, steps: Tensor) -> Tensor:
        """(k, c, h, w) in -128 … 127 with steps (k, 1, 64), the same after rounding to steps."""
        count, channels, height, width = planes.shape
        across = width // BLOCK
        blocks = planes.reshape(count, channels, height // BLOCK, BLOCK, across, BLOCK).transpose(3, 4)
        levels = blocks.reshape(count, -1, BLOCK * BLOCK) @ self.cosines.mT
        levels = levels.div_(steps).round_().mul_(steps)
        values = (levels @ self.cosines).round_().clamp_(-128, 127)
        values = values.view(count, channels, height // BLOCK, across, BLOCK, BLOCK).transpose(3, 4)
        return values.reshape(planes.shape)


def _cosines() -> NDArray[np.float64]:
    """(64, 64): the orthonormal cosine transform of a block by its row-major pixels."""
    frequency, place = np.arange(BLOCK)[:, None], np.arange(BLOCK)
    one = np.cos((2 * place + 1) * frequency * np.pi / (2 * BLOCK)) / 2
    one[0] /= np.sqrt(2)
    return np.kron(one, one).astype(np.float64)


def _exact(matrix: NDArray[np.float64]) -> Tensor:
    """In whole 4096ths: a block's sums of bytes, at most 2 ** 11, then fit in fp32's 24 bits."""
    return torch.from_numpy(np.rint(matrix * PARTS) / PARTS).float()


def _steps(base: tuple[int, ...], quality: int) -> list[int]:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return [min(255, max(1, (step * scale + 50) // 100)) for step in base]
