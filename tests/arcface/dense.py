"""The margin softmax as the papers write it: the whole matrix, in float64, differentiated by autograd."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from training.arcface.margins import AdaFace, Margin

CLASSES, SIZE = 11, 8
LABELS = torch.tensor([0, 10, 4, 4, 7, 2, 9])

MARGINS = {
    "arcface": Margin(64.0, m2=0.5),
    "arcface, wide": Margin(8.0, m2=1.5),
    "no margin": Margin(30.0, m2=0.0),
    "cosface": Margin(64.0, m2=0.0, m3=0.35),
    "combined": Margin(64.0, m2=0.3, m3=0.2),
    "combined, wide": Margin(8.0, m2=1.5, m3=0.4),
    "combined, narrowed": Margin(16.0, m1=0.9, m2=0.4, m3=0.15),
    "combined, multiplied": Margin(8.0, m1=3.0, m2=0.4, m3=0.1),
    "adaface": AdaFace(64.0, m2=0.4, m3=0.4),
    "adaface, wide": AdaFace(8.0, m2=1.5, m3=1.5),
}
MODES: dict[str, dict[str, Any]] = {
    "": {},
    ", straight through": {"straight_through": True},
    ", smoothed": {"label_smoothing": 0.1},
    ", straight through and smoothed": {"straight_through": True, "label_smoothing": 0.2},
}


def batch(images: int = len(LABELS)) -> tuple[Tensor, Tensor]:
    """Embeddings (n, SIZE) of quite different norms, and labels, some of them alike."""
    source = torch.Generator().manual_seed(5)
    embeddings = torch.randn(images, SIZE, generator=source, dtype=torch.float64)
    return embeddings * torch.linspace(0.2, 30, images, dtype=torch.float64)[:, None], LABELS[:images]


@dataclass
class Norms:
    """AdaFace's statistics as its release keeps them, over one call after the other."""

    mean: float = 20.0
    deviation: float = 100.0

    def quality(self, embeddings: Tensor) -> Tensor:
        norms = embeddings.detach().norm(dim=1).clamp(0.001, 100)
        self.mean = 0.01 * norms.mean().item() + 0.99 * self.mean
        self.deviation = 0.01 * norms.std().item() + 0.99 * self.deviation
        quality: Tensor = 0.333 * (norms - self.mean) / (self.deviation + 0.001)
        return quality.clamp(-1, 1)


def target(cosine: Tensor, margin: Margin, quality: Tensor) -> Tensor:
    """The true class's cosine with its margin, (n,), by the angle itself."""
    m2, m3 = torch.full_like(quality, margin.m2), torch.full_like(quality, margin.m3)
    if isinstance(margin, AdaFace):
        m2, m3 = -margin.m2 * quality, margin.m3 + margin.m3 * quality
    angle = margin.m1 * cosine.acos() + m2
    if margin.m1 != 1:  # no more than three turns here
        turned = torch.where(angle < 2 * math.pi, -angle.cos() - 2, angle.cos() - 4)
        return torch.where(angle < math.pi, angle.cos(), turned) - m3
    beyond = cosine - m2 * m2.sin()
    inside = torch.where(angle > 0, angle.cos(), 1.0)
    return torch.where(angle < math.pi, inside, beyond) - m3


def loss(
    embeddings: Tensor,
    centres: Tensor,
    labels: Tensor,
    margin: Margin,
    interclass_filter: float = 0.0,
    norms: Norms | None = None,
) -> Tensor:
    """The mean over the images, (n, d); centres: (classes, d)."""
    cosines = normalize(embeddings) @ normalize(centres).T
    own = torch.arange(len(labels)), labels
    quality = (norms or Norms()).quality(embeddings)
    with_margin = target(cosines[own], margin, quality)
    if margin.straight_through:
        with_margin = cosines[own] + (with_margin - cosines[own]).detach()
    kept = (cosines <= interclass_filter) if interclass_filter else torch.ones_like(cosines, dtype=torch.bool)
    kept[own] = True
    logits = cosines.index_put(own, with_margin) * margin.scale
    surprises = logits.where(kept, -math.inf).logsumexp(1, keepdim=True) - logits
    evenly = surprises.where(kept, 0.0).sum(1) / kept.sum(1)
    return ((1 - margin.label_smoothing) * surprises[own] + margin.label_smoothing * evenly).mean()
