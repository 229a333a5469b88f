"""Brightness, contrast and saturation, each halved to one and a half times; now and then no colour at all."""

import torch
from torch import Tensor

from training.arcface.augment.bytes import SIDE, Draw, between, rounded

PARTS = 256
GREY = (77, 150, 29)  # of 256: 0.299, 0.587 and 0.114, the luma of ITU-R BT.601
RANGE = (0.5, 1.5)  # AdaFace's: ColorJitter(0.5, 0.5, 0.5)
GREY_CHANCE = 1 / 8


class Colour:
    """Another light, or another camera, on uint8 (k, 112, 112, 3).

    b scales each value x, c moves it from the mean m of the image's grey values, s from its pixel's own grey
    value g. In one, with g and m whole: s c b x + (1 - s) c b g + (1 - c) b m.
    """

    def __init__(self, device: torch.device):
        self.luma = torch.tensor(GREY, dtype=torch.float32, device=device) / PARTS

    def __call__(self, images: Tensor, draws: Draw) -> Tensor:
        bright, contrast = (between(draws[:, column], *RANGE) for column in (0, 1))
        saturation = between(draws[:, 2], *RANGE) * torch.from_numpy(draws[:, 3] >= GREY_CHANCE)
        own = contrast * bright
        factors = torch.stack([saturation * own, (1 - saturation) * own, (1 - contrast) * bright])
        of_value, of_grey, of_mean = (
            (factors * PARTS).round_().div_(PARTS)[..., None, None, None].to(images.device)
        )
        values = images.float()
        greys = (values @ self.luma)[..., None].round_()
        means = (greys.sum((1, 2, 3), keepdim=True) / SIDE**2).round_()
        return rounded(values * of_value + greys * of_grey + means * of_mean)
