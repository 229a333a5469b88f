"""MobileFaceNet (Chen et al. 2018, arXiv:1804.07573), widened and laid out as in arcface_torch (`mbf`)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.arcface.layers import Conv2d, PReLU, full_precision


class Convolution(nn.Module):
    """conv, BN and, unless `linear`, PReLU. The wrapper `layers` is part of the published keys."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ):
        super().__init__()
        self.layers = nn.Sequential(
            Conv2d(channels_in, channels, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(channels),
        )
        if not linear:
            self.layers.append(PReLU(channels))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class Bottleneck(nn.Module):
    """1x1 up to `width`, 3x3 depthwise, linear 1x1 down; added to its input where `residual`."""

    def __init__(self, channels_in: int, channels: int, width: int, *, stride: int, residual: bool):
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            Convolution(channels_in, width, 1),
            Convolution(width, width, 3, stride=stride, padding=1, groups=width),
            Convolution(width, channels, 1, linear=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return torch.add(x, out) if self.residual else out


class Residuals(nn.Module):
    """`count` bottlenecks that keep size and channels."""

    def __init__(self, channels: int, width: int, count: int):
        super().__init__()
        self.layers = nn.Sequential(
            *(Bottleneck(channels, channels, width, stride=1, residual=True) for _ in range(count))
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class Embedding(nn.Module):
    """A 7x7 depthwise convolution instead of pooling, then a linear layer and BN."""

    def __init__(self, embedding_size: int):
        super().__init__()
        self.layers = nn.Sequential(
            Convolution(512, 512, 7, groups=512, linear=True),
            nn.Flatten(),
            nn.Linear(512, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class MobileFaceNet(nn.Module):
    """`blocks`: the counts of the four residual groups; `scale`: multiple of the paper's widths."""

    def __init__(self, blocks: Sequence[int], scale: int, embedding_size: int = 512):
        super().__init__()
        narrow, wide = 64 * scale, 128 * scale
        first = (
            Convolution(narrow, narrow, 3, padding=1, groups=64)
            if blocks[0] == 1
            else Residuals(narrow, 128, blocks[0])
        )
        self.layers = nn.ModuleList(
            [
                Convolution(3, narrow, 3, stride=2, padding=1),
                first,
                Bottleneck(narrow, narrow, 128, stride=2, residual=False),
                Residuals(narrow, 128, blocks[1]),
                Bottleneck(narrow, wide, 256, stride=2, residual=False),
                Residuals(wide, 256, blocks[2]),
                Bottleneck(wide, wide, 512, stride=2, residual=False),
                Residuals(wide, 256, blocks[3]),
            ]
        )
        self.conv_sep = Convolution(wide, 512, 1)
        self.features = Embedding(embedding_size)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        with full_precision(x):
            x = self.conv_sep(x.to(next(self.conv_sep.parameters()).dtype))
            embedding: Tensor = self.features(x)
        return embedding
