"""IResNet, the residual network of ArcFace (Duta et al.

2020, arXiv:2004.04989), as arcface_torch lays it out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.arcface.layers import PReLU, full_precision

STAGE_CHANNELS = (64, 128, 256, 512)
FINAL_CELLS = 7 * 7  # 112 pixels halved by each of four stages


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)


class Block(nn.Module):
    """BN, conv, BN, PReLU, conv, BN, plus the input; the stride is on the second convolution."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = _conv(channels_in, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.prelu = PReLU(channels)
        self.conv2 = _conv(channels, channels, 3, stride)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(_conv(channels_in, channels, 1, stride), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out = self.bn3(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.add(out, shortcut)


class IResNet(nn.Module):
    """`blocks`: how many blocks each of the four stages has."""

    def __init__(self, blocks: Sequence[int], embedding_size: int = 512):
        super().__init__()
        self.conv1 = _conv(3, STAGE_CHANNELS[0], 3)
        self.bn1 = nn.BatchNorm2d(STAGE_CHANNELS[0])
        self.prelu = PReLU(STAGE_CHANNELS[0])
        channels_in = STAGE_CHANNELS[0]
        for number, (count, channels) in enumerate(zip(blocks, STAGE_CHANNELS, strict=True), start=1):
            setattr(self, f"layer{number}", _stage(channels_in, channels, count))
            channels_in = channels
        self.bn2 = nn.BatchNorm2d(channels_in)
        self.fc = nn.Linear(channels_in * FINAL_CELLS, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)
        # Only direction matters to the head, so the last scale is fixed at 1, as published weights have it.
        self.features.weight.requires_grad_(False)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        x = self.bn2(x).flatten(1)
        with full_precision(x):
            embedding: Tensor = self.features(self.fc(x.to(self.fc.weight.dtype)))
        return embedding


def _stage(channels_in: int, channels: int, count: int) -> nn.Sequential:
    first = Block(channels_in, channels, stride=2)
    return nn.Sequential(first, *(Block(channels, channels, stride=1) for _ in range(count - 1)))
