"""The margin softmax, walked in blocks of classes.

The matrix of batch x classes is never held. The forward pass walks blocks of class centres and keeps a
running log-sum-exp; the backward pass walks them again, and moves each block of centres as soon as its
gradient is known, so that this gradient is never held as a whole either. Each rank owns a contiguous shard of
the classes and sees the embeddings of all ranks, so the loss is the same number on every rank and for every
number of ranks.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.arcface.centres import Sampling, Span, all_spans, draw
from training.arcface.distributed import World
from training.arcface.margins import Margin, NormStatistics
from training.arcface.rules import CentreRule, Part, Shard

# On processors what stays in the cache is fastest; a GPU wants more work for each of its calls.
BLOCK_CLASSES = {"cpu": 2048, "cuda": 16384}


class MarginHead(nn.Module):
    """The centres of this rank's shard of `classes`, the loss of a batch against all, and how they move.

    sample_rate: share of the classes that a step compares with (`Sampling`). interclass_filter: other classes
    whose cosine is above it are left out of that image's softmax; 0: none. rule: how the backward pass moves
    the centres; without one it leaves their gradient in `centres.grad`. No outside optimizer may touch them.
    """

    def __init__(
        self,
        classes: int,
        embedding_size: int,
        margin: Margin,
        world: World,
        *,
        seed: int = 0,
        block: int | None = None,
        sample_rate: float = 1.0,
        interclass_filter: float = 0.0,
        rule: CentreRule | None = None,
    ):
        super().__init__()
        self.classes, self.margin, self.world = classes, margin, world
        self.block = block or BLOCK_CLASSES[world.device.type]
        self.interclass_filter = interclass_filter
        self.sampling = Sampling(sample_rate, seed, world.rank) if sample_rate < 1 else None
        self.first, self.last = world.shard(classes)
        fresh = draw(self.first, self.last, embedding_size, seed)
        self.shard = Shard(fresh, rule, self.block, sparse=sample_rate < 1)
        self.norms = NormStatistics()

    @property
    def centres(self) -> Tensor:
        """This rank's, (rows, embedding_size), of the classes first … last - 1."""
        return self.shard.centres

    def prepare(self, step: int, rate: float, part: int = 0, parts: int = 1) -> None:
        """To be called before each part (0 … parts - 1) of each step (0, 1, …)."""
        self.shard.prepare(Part(step, rate, part, parts))

    def forward(self, embeddings: Tensor, labels: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """The mean loss over this part's images of all ranks (a scalar, equal everywhere).

        embeddings: this rank's, (n, d), not normalised; n may differ between ranks. labels: their classes,
        (n,) int64. counts: n of every rank; without it they tell each other. The backward pass of a step's
        last part moves the centres, if the losses of all its parts are numbers.
        """
        counts = counts or self.world.row_counts(len(embeddings))
        loss: Tensor = _BlockwiseLoss.apply(embeddings, labels, counts, self)  # type: ignore[no-untyped-call]
        return loss

    def rows(self) -> dict[str, Tensor]:
        """This rank's rows: the centres and what the rule remembers of them, each (rows, d), not copied."""
        return self.shard.rows()

    def load_rows(self, rows: Mapping[str, Tensor]) -> None:
        """Undoes `rows`."""
        self.shard.load_rows(rows)

    def shared(self) -> dict[str, Tensor]:
        """What is alike on every rank, not copied: the statistics of the embeddings' norms."""
        return dict(self.norms.named_buffers())

    def load_shared(self, values: Mapping[str, Tensor]) -> None:
        """Undoes `shared`."""
        self.norms.load_state_dict(dict(values))

    def spans(self, labels: Tensor) -> Iterator[Span]:
        """The rows that this step compares with; labels as `Span.owners` takes them."""
        if self.sampling is None:
            return all_spans(len(self.centres), self.block)
        return self.sampling.spans(self.centres, self.block, labels, self.shard.now.step)


class _BlockwiseLoss(torch.autograd.Function):
    """By hand, because autograd would keep every block's logits for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, labels: Tensor, counts: Sequence[int], head: MarginHead
    ) -> Tensor:
        batch = _Batch.gather(embeddings, labels, counts, head, training=ctx.needs_input_grad[0])
        running = _Running(batch.units)
        for block in _blocks(batch, head):
            running.add(block)
        loss, batch.log_sum, batch.smoothed = running.over_ranks(head)
        ctx.head, ctx.batch, ctx.finite = head, batch, loss.isfinite()
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        head: MarginHead = ctx.head
        batch: _Batch = ctx.batch
        head.shard.broken |= not ctx.finite
        by_units = torch.zeros_like(batch.units)
        weight = gradients[0] * head.margin.scale / len(batch.units)
        for block in _blocks(batch, head):
            error = block.error(batch).mul_(weight)
            by_units += error @ block.units
            head.shard.learn(
                block.span, _through_normalise(error.T @ batch.units, block.units, block.lengths)
            )
        head.shard.finish()
        gradient = _through_normalise(head.world.sum(by_units), batch.units, batch.lengths)
        # DistributedDataParallel takes the mean of the ranks' gradients, but this loss is already the mean
        # over all images: times the number of ranks, their mean is the sum that it should be.
        return head.world.rows_of_this_rank(gradient, batch.counts) * head.world.size, None, None, None


@dataclass
class _Batch:
    """The images of all ranks, N of them, as the head sees them."""

    counts: Sequence[int]  # of each rank
    units: Tensor  # (N, d), the embeddings' directions
    lengths: Tensor  # (N, 1)
    labels: Tensor  # (N,), counted from this rank's first class, on the CPU
    quality: Tensor  # (N,), what AdaFace takes the margin from; else zeros
    log_sum: Tensor  # (N,), log-sum-exp of all logits: known after the forward pass
    smoothed: Tensor  # (N,), what label smoothing gives each class

    @classmethod
    def gather(
        cls, embeddings: Tensor, labels: Tensor, counts: Sequence[int], head: MarginHead, *, training: bool
    ) -> "_Batch":
        units, lengths = _normalise(head.world.gather(embeddings, counts))
        local = (head.world.gather(labels, counts) - head.first).cpu()
        quality = torch.zeros_like(lengths[:, 0])
        if head.margin.adaptive:
            if training:
                head.norms.update(lengths[:, 0])
            quality = head.norms.quality(lengths[:, 0])
        return cls(counts, units, lengths, local, quality, quality, quality)


class _Block:
    """One block of this rank's centres, and the logits of all images for them."""

    def __init__(self, span: Span, batch: _Batch, head: MarginHead):
        self.span, self.head = span, head
        self.units, self.lengths = _normalise(span.take(head.centres))  # (k, d), (k, 1)
        images, columns = span.owners(batch.labels)
        device = self.units.device
        self.own = images.to(device), columns.to(device)  # the images whose class is here, and where
        self.logits = batch.units @ self.units.T  # (N, k)
        value, self.derivative = head.margin.target(self.logits[self.own], batch.quality[self.own[0]])
        self.left_out = self._filtered()
        self.logits[self.own] = value
        self.logits.mul_(head.margin.scale)

    def _filtered(self) -> Tensor | None:
        """(N, k) bool: which logits are not in the softmax, and are minus infinity from here on."""
        if not self.head.interclass_filter:
            return None
        left_out = self.logits > self.head.interclass_filter
        left_out[self.own] = False
        self.logits.masked_fill_(left_out, -math.inf)
        return left_out

    def error(self, batch: _Batch) -> Tensor:
        """Softmax less target, through the margin: each image's loss by its cosines over s, (N, k).

        Written over the logits.
        """
        smoothing = self.head.margin.label_smoothing
        error = self.logits.sub_(batch.log_sum[:, None]).exp_()
        if smoothing:
            error -= batch.smoothed[:, None]
        if smoothing and self.left_out is not None:
            error.masked_fill_(self.left_out, 0)
        error[self.own] = (error[self.own] - (1 - smoothing)) * self.derivative
        return error


class _Running:
    """What the blocks so far add up to, for each image, (N,)."""

    def __init__(self, units: Tensor):
        # Not minus infinity, from which nothing can be subtracted: a block may have no logit that counts.
        self.maximum = units.new_full((len(units),), torch.finfo(units.dtype).min / 2)
        self.exponentials = units.new_zeros(len(units))
        self.target = units.new_zeros(len(units))
        self.sums = units.new_zeros(len(units))  # of the logits: label smoothing takes their mean
        self.counts = units.new_zeros(len(units))  # of the logits

    def add(self, block: _Block) -> None:
        """Takes in a block's logits, and writes over them."""
        logits = block.logits
        self.target[block.own[0]] = logits[block.own]
        if block.head.margin.label_smoothing:
            kept = logits if block.left_out is None else logits.masked_fill(block.left_out, 0)
            self.sums += kept.sum(1)
            self.counts += logits.shape[1] - (0 if block.left_out is None else block.left_out.sum(1))
        maximum = torch.maximum(self.maximum, logits.amax(1))
        self.exponentials *= (self.maximum - maximum).exp()
        self.exponentials += logits.sub_(maximum[:, None]).exp_().sum(1)
        self.maximum = maximum

    def over_ranks(self, head: MarginHead) -> tuple[Tensor, Tensor, Tensor]:
        """The mean loss, and of each image the log-sum-exp and what smoothing gives each of its classes."""
        maximum = head.world.maximum(self.maximum)
        mine = (self.exponentials * (self.maximum - maximum).exp(), self.target, self.sums, self.counts)
        exponentials, target, sums, counts = head.world.sum(torch.stack(mine))
        log_sum = maximum + exponentials.log()
        smoothing = head.margin.label_smoothing
        smoothed = smoothing / counts.clamp_min(1)
        return (log_sum - (1 - smoothing) * target - smoothed * sums).mean(), log_sum, smoothed


def _blocks(batch: _Batch, head: MarginHead) -> Iterator[_Block]:
    for span in head.spans(batch.labels):
        yield _Block(span, batch, head)


def _normalise(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Directions (n, d) and lengths (n, 1); a zero vector stays zero."""
    lengths = vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return vectors / lengths, lengths


def _through_normalise(gradient: Tensor, units: Tensor, lengths: Tensor) -> Tensor:
    """The gradient by a vector, from that by its direction: only what is at right angles to it counts.

    Written over the given one.
    """
    return gradient.addcmul_((gradient * units).sum(1, keepdim=True), units, value=-1).div_(lengths)
