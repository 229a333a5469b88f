"""Margins: what is asked of the true class beyond being the nearest one.

The logits are s · cos theta_j; for the true class cos theta becomes

    ArcFace    cos(theta + m)                     Deng et al. 2019, arXiv:1801.07698
    CosFace    cos theta - m                      Wang et al. 2018, arXiv:1801.09414
    combined   cos(m1 · theta + m2) - m3          Deng et al. 2019, section 3.3
    AdaFace    cos(theta - m · z) - (m + m · z)   Kim et al. 2022, arXiv:2204.00964; z: the image's quality

A target never rises with its angle, also where the cosine would:

- beyond theta + m2 = π it goes on as cos theta - m2 · sin m2 - m3, the continuation of ArcFace's first
  implementation, whose derivative by cos theta is 1;
- with m1 other than 1, beyond φ = m1 · theta + m2 = k · π it is (-1)^k cos φ - 2k - m3, the continuation of
  SphereFace (Liu et al. 2017, arXiv:1704.08063), which is continuous;
- where AdaFace's angle would fall below 0, the target stays 1 - m3 and pulls no longer, as in its release.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.arcface.settings import Settings
from training.container.errors import TrainingError

# Below this, sin theta is noise: dividing by it would turn a rounding error into a gradient.
SMALLEST_SINE = 1e-6
# The names, ranges and remedy of the knob `margins`.
RANGES = {"m1": (0.1, 4.0), "m2": (0.0, 1.5), "m3": (0.0, 1.5)}
MARGINS_REMEDY = 'write three numbers such as "1,0.5,0": m1 of 0.1 ... 4, m2 and m3 of 0 ... 1.5'


@dataclass(frozen=True)
class Margin:
    """cos(m1 · theta + m2) - m3 for the true class, times the scale like all others.

    straight_through: the margin's derivative is taken to be 1, which is what arcface_torch trains with.
    label_smoothing: share of the target that is spread evenly over all classes of an image's softmax.
    """

    scale: float = 64.0
    m1: float = 1.0
    m2: float = 0.5
    m3: float = 0.0
    straight_through: bool = False
    label_smoothing: float = 0.0

    @property
    def adaptive(self) -> bool:
        """Whether the target depends on the image's quality too."""
        return False

    @staticmethod
    def from_settings(settings: Settings) -> "Margin":
        """Raises TrainingError where `margins` is not three numbers that make sense."""
        kind = AdaFace if settings.loss == "adaface" else Margin
        m1, m2, m3 = {
            "arcface": lambda: (1.0, settings.margin, 0.0),
            "cosface": lambda: (1.0, 0.0, settings.margin),
            "adaface": lambda: (1.0, settings.margin, settings.margin),
            "combined": lambda: _three(settings.margins),
        }[settings.loss]()
        straight_through = settings.margin_gradient == "straight_through"
        return kind(settings.scale, m1, m2, m3, straight_through, settings.label_smoothing)

    def target(self, cosine: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """The true class's cosine with its margin, and the derivative of that by the cosine without.

        cosine, quality (of which only AdaFace makes use), and both results: (n,).
        """
        m2, m3 = self.added(quality)
        value, derivative = _shifted(cosine, m2) if self.m1 == 1 else _multiplied(cosine, self.m1, m2)
        return value - m3, torch.ones_like(cosine) if self.straight_through else derivative

    def added(self, quality: Tensor) -> tuple[Tensor, Tensor]:
        """m2 and m3 of each image, (n,) both."""
        return torch.full_like(quality, self.m2), torch.full_like(quality, self.m3)


@dataclass(frozen=True)
class AdaFace(Margin):
    """Here m2 and m3 are both the paper's m: its angular part is -m · z, its additive part m + m · z."""

    @property
    def adaptive(self) -> bool:
        return True

    def added(self, quality: Tensor) -> tuple[Tensor, Tensor]:
        return -self.m2 * quality, self.m3 + self.m3 * quality


def _three(text: str) -> tuple[float, float, float]:
    try:
        m1, m2, m3 = (float(part) for part in text.split(","))
    except ValueError:
        raise TrainingError(f'margins: "{text}" is not m1,m2,m3: {MARGINS_REMEDY}') from None
    for (name, (low, high)), value in zip(RANGES.items(), (m1, m2, m3), strict=True):
        if not low <= value <= high:
            raise TrainingError(
                f'margins: {name} of "{text}" is not in {low:g} ... {high:g}: {MARGINS_REMEDY}'
            )
    return m1, m2, m3


def _shifted(cosine: Tensor, m2: Tensor) -> tuple[Tensor, Tensor]:
    """cos(theta + m2) with its continuations, and the derivative by cos theta."""
    sine = (1 - cosine.square()).clamp_min(0).sqrt()
    value = cosine * m2.cos() - sine * m2.sin()
    derivative = m2.cos() + m2.sin() * cosine / sine.clamp_min(SMALLEST_SINE)
    beyond = (m2 > 0) & (cosine <= -m2.cos())  # theta + m2 is above π
    value = torch.where(beyond, cosine - m2 * m2.sin(), value)
    derivative = torch.where(beyond, 1.0, derivative)
    below = (m2 < 0) & (cosine >= m2.cos())  # theta + m2 is below 0
    return torch.where(below, 1.0, value), torch.where(below, 0.0, derivative)


def _multiplied(cosine: Tensor, m1: float, m2: Tensor) -> tuple[Tensor, Tensor]:
    """cos(m1 · theta + m2) with SphereFace's continuation, and the derivative by cos theta."""
    angle = m1 * cosine.clamp(-1, 1).acos() + m2
    turns = (angle / math.pi).floor()
    sign = 1 - 2 * turns.remainder(2)
    sine = (1 - cosine.square()).clamp_min(0).sqrt().clamp_min(SMALLEST_SINE)
    return sign * angle.cos() - 2 * turns, m1 * sign * angle.sin() / sine


class NormStatistics(nn.Module):
    """What AdaFace takes an image's quality from: its embedding's norm among those of late.

    Mean and deviation are exponential moving averages over the batches of all ranks. All constants are those
    of the authors' release (its training scripts set t_alpha = 0.01).
    """

    H = 0.333
    T_ALPHA = 0.01
    NORMS = (0.001, 100.0)
    EPSILON = 1e-3

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("deviation", torch.tensor(100.0))

    @torch.no_grad()
    def update(self, norms: Tensor) -> None:
        """norms: those of a batch of all ranks, (n,). What is no number counts for nothing."""
        if len(norms) < 2:  # one image has no deviation
            return
        norms = norms.clamp(*self.NORMS).to(self.mean.dtype)
        for average, new in ((self.mean, norms.mean()), (self.deviation, norms.std())):
            average.copy_(torch.where(new.isfinite(), average.lerp(new, self.T_ALPHA), average))

    @torch.no_grad()
    def quality(self, norms: Tensor) -> Tensor:
        """z of each image, (n,), -1 ... 1. A constant: no gradient reaches the norm through it."""
        z = (norms.clamp(*self.NORMS) - self.mean) / (self.deviation + self.EPSILON)
        return (z * self.H).clamp(-1, 1).to(norms.dtype)
