"""Layers that are written for speed have the values and gradients of the plain ones."""

import pytest
import torch
from torch import Tensor, nn

from training.arcface.layers import Conv2d


def gradients(
    layer: nn.Conv2d, x: Tensor, weights: Tensor, *, autocast: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and the gradients of a weighted sum of it by input and by weight."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = layer(x)
    (out.float() * weights).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    return out.detach().float(), x.grad.float(), layer.weight.grad.clone()


@pytest.mark.parametrize(("groups", "stride"), [(8, 2), (4, 1), (8, 1), (1, 1)])
def test_a_convolution_trained_in_bf16_differs_by_rounding_alone(groups: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = Conv2d(8, 8, 3, stride, 1, groups=groups, bias=False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    plain = nn.Conv2d(8, 8, 3, stride, 1, groups=groups, bias=False)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(3, 8, 10, 10).to(memory_format=torch.channels_last)
    weights = torch.randn(3, 8, 10 // stride, 10 // stride)
    found = gradients(layer, x.bfloat16(), weights, autocast=True)
    expected = gradients(plain, x.bfloat16().float(), weights, autocast=False)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= 0.02 * other.abs().max()


def test_a_convolution_in_fp32_is_the_plain_one_bit_for_bit() -> None:
    layer = Conv2d(8, 8, 3, 2, 1, groups=8)
    x = torch.randn(3, 8, 10, 10)
    assert torch.equal(layer(x), layer._conv_forward(x, layer.weight, layer.bias))
