"""What the networks share: layers that train fast on a CPU, and full precision for the last layers."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class PReLU(nn.PReLU):
    """nn.PReLU with the same parameter, values and gradients.

    PyTorch's CPU kernel for the backward pass is not vectorised: it took a third of a MobileFaceNet step.
    Written as vectorised operations it takes a quarter of that time.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name is nn.PReLU's)
        if input.device.type == "cpu" and torch.is_grad_enabled():
            out: Tensor = _Vectorised.apply(input, self.weight)  # type: ignore[no-untyped-call]
            return out
        return functional.prelu(input, self.weight)


class Conv2d(nn.Conv2d):
    """nn.Conv2d with the same parameter, and the same values but for rounding, where bf16 trains on a CPU.

    Two of the backward passes there are slow, and together took half of a MobileFaceNet step: that of a
    depthwise convolution with a stride, which is 6 to 14 times as fast in fp32; and that of a convolution
    whose groups are pairs, which is 3 times as fast as the sum of two depthwise ones.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name is nn.Conv2d's)
        if self.groups == 1 or not _trains_in_half_on_a_cpu(input):
            return super().forward(input)
        if self.stride != (1, 1):
            with full_precision(input):
                full: Tensor = self._conv_forward(input.float(), self.weight, self.bias)
                return full.to(input.dtype)
        if self.in_channels == self.out_channels == 2 * self.groups:
            return self._of_pairs(input)
        return super().forward(input)

    def _of_pairs(self, x: Tensor) -> Tensor:
        """Each output takes its own channel, and the other one of the pair."""
        pairs = self.groups
        weight = self.weight.view(pairs, 2, *self.weight.shape[1:])  # (pairs, output, input, k, k)
        own = torch.stack([weight[:, 0, 0], weight[:, 1, 1]], 1).flatten(0, 1)[:, None]
        other = torch.stack([weight[:, 0, 1], weight[:, 1, 0]], 1).flatten(0, 1)[:, None]
        swapped = x.view(len(x), pairs, 2, *x.shape[2:]).flip(2).flatten(1, 2)
        count = self.in_channels
        out = functional.conv2d(x, own, None, self.stride, self.padding, self.dilation, count)
        return out + functional.conv2d(swapped, other, None, self.stride, self.padding, self.dilation, count)


def _trains_in_half_on_a_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """No autocast within: bf16 would leave the embedding three digits."""
    kind = x.device.type
    available = torch.amp.is_autocast_available(kind)  # not on the meta device
    return torch.autocast(kind, enabled=False) if available else nullcontext()


class _Vectorised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        slope = weight.to(x.dtype)
        ctx.save_for_backward(x, slope)
        ctx.weight_dtype = weight.dtype
        return functional.prelu(x, slope)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        gradient = gradients[0]
        positive = torch.ops.aten.threshold_backward(gradient, x, 0)
        negative = gradient - positive
        other_dimensions = [0, *range(2, x.dim())]
        slopes = slope.view(1, -1, *[1] * (x.dim() - 2))
        # In place, for fresh memory costs more than the arithmetic.
        positive.addcmul_(negative, slopes)
        return positive, negative.mul_(x).sum(other_dimensions).to(ctx.weight_dtype)
