"""Learning rates, momentum and accumulation at each batch: YOLOv5 v6.2's schedule, as pure functions."""

import math
from dataclasses import dataclass

NOMINAL = 64  # pictures of an optimizer's step: smaller batches are added up to it


@dataclass(frozen=True)
class Plan:
    """How many batches there are, and where the warm-up ends."""

    per_epoch: int
    epochs: int
    batch: int
    warmup: int  # batches
    end: int  # batches: all of them, or fewer where the job is to stop before

    @classmethod
    def make(cls, pictures: int, batch: int, epochs: int, warmup_epochs: float, most: int = 0) -> "Plan":
        """most: batches; 0: all."""
        per_epoch = math.ceil(pictures / batch)
        longest = min(warmup_epochs, max(0, epochs - 1))  # the last epoch at least is none of it
        total = per_epoch * epochs
        return cls(per_epoch, epochs, batch, round(longest * per_epoch), min(most or total, total))

    @property
    def accumulate(self) -> int:
        """Batches of an optimizer's step after the warm-up."""
        return min(max(round(NOMINAL / self.batch), 1), self.per_epoch * self.epochs)

    def epoch(self, step: int) -> int:
        """The epoch, 1, 2, …, that the batch `step`, 1, 2, …, belongs to."""
        return (step - 1) // self.per_epoch + 1


@dataclass(frozen=True)
class Rates:
    """Of one batch. bias: the learning rate of biases, which starts high and falls."""

    lr: float
    bias: float
    momentum: float
    accumulate: int


@dataclass(frozen=True)
class Curve:
    """What the knobs say of rates."""

    lr: float
    lr_final: float  # share of lr that is left at the end
    cosine: bool
    momentum: float
    warmup_momentum: float
    warmup_bias_lr: float

    def at(self, step: int, plan: Plan) -> Rates:
        """step: 0, 1, … over the whole run."""
        lr = self.lr * self.factor(step // plan.per_epoch, plan.epochs)
        if step >= plan.warmup:
            return Rates(lr, lr, self.momentum, plan.accumulate)
        share = step / plan.warmup
        return Rates(
            lr * share,
            _between(self.warmup_bias_lr, lr, share),
            _between(self.warmup_momentum, self.momentum, share),
            max(1, round(_between(1, plan.accumulate, share))),
        )

    def factor(self, epoch: int, epochs: int) -> float:
        """From 1 in the first epoch towards lr_final; epoch: 0, 1, …"""
        share = epoch / epochs
        if self.cosine:
            return (1 - math.cos(math.pi * share)) / 2 * (self.lr_final - 1) + 1
        return (1 - share) * (1 - self.lr_final) + self.lr_final


def _between(first: float, last: float, share: float) -> float:
    return first + (last - first) * share
