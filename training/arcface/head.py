"""The margin softmax (ArcFace: Deng et al. 2019, arXiv:1801.07698), walked in blocks of classes.

The matrix of batch x classes is never held. The forward pass walks blocks of class centres and keeps a
running log-sum-exp; the backward pass walks them again. Each rank owns a contiguous shard of the classes and
sees the embeddings of all ranks, so the loss is the same number on every rank and for every number of ranks.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.arcface.distributed import World

BLOCK_CLASSES = 16384
# Below this, sin theta is noise: dividing by it would turn a rounding error into a gradient.
SMALLEST_SINE = 1e-6


@dataclass(frozen=True)
class Margin:
    """s · cos(theta + m) for the true class, s · cos theta for the others.

    Beyond theta + m = π the cosine would rise again and reward a worse angle, so the target continues as
    cos theta - m · sin m, which keeps falling (the continuation of ArcFace's first implementation).
    """

    scale: float = 64.0
    margin: float = 0.5
    straight_through: bool = False
    label_smoothing: float = 0.0

    def target(self, cosine: Tensor) -> tuple[Tensor, Tensor]:
        """The true class's cosine with its margin, and the derivative of that by the cosine without.

        The straight-through derivative is 1: what arcface_torch trains with.
        """
        sine = (1 - cosine.square()).clamp_min(0).sqrt()
        with_margin = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        inside = cosine > math.cos(math.pi - self.margin)
        value = torch.where(inside, with_margin, cosine - self.margin * math.sin(self.margin))
        if self.straight_through:
            return value, torch.ones_like(cosine)
        exact = math.cos(self.margin) + math.sin(self.margin) * cosine / sine.clamp_min(SMALLEST_SINE)
        return value, torch.where(inside, exact, torch.ones_like(cosine))


class MarginHead(nn.Module):
    """The centres of this rank's shard of `classes`, and the loss of a batch against all of them."""

    def __init__(
        self,
        classes: int,
        embedding_size: int,
        margin: Margin,
        world: World,
        *,
        seed: int = 0,
        block: int = BLOCK_CLASSES,
    ):
        super().__init__()
        self.classes, self.margin, self.world, self.block = classes, margin, world, block
        self.first, self.last = world.shard(classes)
        # Every rank draws all centres and keeps its own, so that they do not depend on how many ranks there
        # are.
        drawn = torch.randn(classes, embedding_size, generator=torch.Generator().manual_seed(seed))
        self.centres = nn.Parameter(drawn[self.first : self.last] * 0.01)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The mean loss over the images of all ranks (a scalar, equal everywhere).

        embeddings: this rank's, (n, d), not normalised; labels: their classes, (n,) int64.
        """
        loss: Tensor = _BlockwiseLoss.apply(  # type: ignore[no-untyped-call]
            embeddings, self.centres, labels, self
        )
        return loss


class _BlockwiseLoss(torch.autograd.Function):
    """By hand, because autograd would keep every block's logits for the backward pass."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, centres: Tensor, labels: Tensor, head: MarginHead) -> Tensor:
        units, lengths = _normalise(embeddings)
        all_units, all_labels = head.world.gather(units), head.world.gather(labels)
        running = _Running(all_units)
        for block in _blocks(centres, all_labels, head):
            running.add(block.logits(all_units @ block.units.T, head.margin)[0], block)
        log_sum, target, sums = running.over_ranks(head.world)
        smoothing = head.margin.label_smoothing
        ctx.save_for_backward(units, lengths, all_units, all_labels, log_sum, centres)
        ctx.head = head
        return (log_sum - (1 - smoothing) * target - smoothing / head.classes * sums).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        units, lengths, all_units, all_labels, log_sum, centres = ctx.saved_tensors
        head: MarginHead = ctx.head
        by_units = torch.zeros_like(all_units)
        by_centres = torch.empty_like(centres)
        weight = gradients[0] * head.margin.scale / len(all_labels)
        for block in _blocks(centres, all_labels, head):
            error = block.error(all_units @ block.units.T, log_sum, head) * weight
            by_units += error @ block.units
            by_centres[block.rows] = _through_normalise(error.T @ all_units, block.units, block.lengths)
        mine = head.world.rows_of_this_rank(head.world.sum(by_units))
        # DistributedDataParallel takes the mean of the ranks' gradients, but this loss is already the mean
        # over all images: times the number of ranks, their mean is the sum that it should be.
        return _through_normalise(mine, units, lengths) * head.world.size, by_centres, None, None


@dataclass(frozen=True)
class _Block:
    """One block of this rank's centres, and the images whose class is among them."""

    rows: slice
    units: Tensor  # (k, d), the centres' directions
    lengths: Tensor  # (k, 1)
    images: Tensor  # indices into the batch of all ranks
    columns: Tensor  # the classes of those images, counted from the block's first

    def logits(self, cosines: Tensor, margin: Margin) -> tuple[Tensor, Tensor]:
        """The logits, (n, k), written over `cosines`, and the margin's derivative for each of `images`."""
        value, derivative = margin.target(cosines[self.images, self.columns])
        cosines[self.images, self.columns] = value
        return cosines.mul_(margin.scale), derivative

    def error(self, cosines: Tensor, log_sum: Tensor, head: MarginHead) -> Tensor:
        """Softmax less target, through the margin: each image's loss by its cosines over s, (n, k)."""
        smoothing = head.margin.label_smoothing
        logits, derivative = self.logits(cosines, head.margin)
        error = logits.sub_(log_sum[:, None]).exp_().sub_(smoothing / head.classes)
        own = error[self.images, self.columns] - (1 - smoothing)
        error[self.images, self.columns] = own * derivative
        return error


class _Running:
    """What the blocks so far add up to: log-sum-exp, the true class's logit, the sum of all logits."""

    def __init__(self, units: Tensor):
        self.maximum = units.new_full((len(units),), -math.inf)
        self.exponentials = units.new_zeros(len(units))
        self.target = units.new_zeros(len(units))
        self.sums = units.new_zeros(len(units))

    def add(self, logits: Tensor, block: _Block) -> None:
        """Takes in a block's logits, (n, k), and writes over them."""
        self.target[block.images] = logits[block.images, block.columns]
        self.sums += logits.sum(1)
        maximum = torch.maximum(self.maximum, logits.amax(1))
        self.exponentials *= (self.maximum - maximum).exp()
        self.exponentials += logits.sub_(maximum[:, None]).exp_().sum(1)
        self.maximum = maximum

    def over_ranks(self, world: World) -> tuple[Tensor, Tensor, Tensor]:
        maximum = world.maximum(self.maximum)
        exponentials = world.sum(self.exponentials * (self.maximum - maximum).exp())
        return maximum + exponentials.log(), world.sum(self.target), world.sum(self.sums)


def _blocks(centres: Tensor, labels: Tensor, head: MarginHead) -> Iterator[_Block]:
    for start in range(0, len(centres), head.block):
        rows = slice(start, min(start + head.block, len(centres)))
        units, lengths = _normalise(centres[rows])
        columns = labels - (head.first + start)
        images = ((columns >= 0) & (columns < len(units))).nonzero().squeeze(1)
        yield _Block(rows, units, lengths, images, columns[images])


def _normalise(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Directions (n, d) and lengths (n, 1); a zero vector stays zero."""
    lengths = vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return vectors / lengths, lengths


def _through_normalise(gradient: Tensor, units: Tensor, lengths: Tensor) -> Tensor:
    """The gradient by a vector, from that by its direction: only what is at right angles to it counts."""
    return (gradient - (gradient * units).sum(1, keepdim=True) * units) / lengths
