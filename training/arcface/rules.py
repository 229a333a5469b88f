"""How class centres move: as under torch's SGD or AdamW, but some rows at a time.

So the gradient of all rows is never held.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from training.arcface.centres import Span, all_spans
from training.arcface.settings import Settings

CENTRES = "centres"
Rows = Mapping[str, Tensor]  # the centres and what a rule remembers of them, (k, d) each


@dataclass(frozen=True)
class Part:
    """Where in a run the next images come: `part` of the `parts` whose gradients make one step."""

    step: int = 0
    rate: float = 0.0
    part: int = 0
    parts: int = 1

    @property
    def last(self) -> bool:
        return self.part == self.parts - 1


class CentreRule(ABC):
    """How centres move by their gradient, some rows at a time, all in place.

    A step of one part is `step`. One of several parts is `begin` for each row once, `add` for each part's
    gradient, and `move` for each row once. Rows that are in none of these keep all they have.
    """

    moments: ClassVar[tuple[str, ...]]  # what is remembered from step to step
    between_parts: ClassVar[tuple[str, ...]] = ()  # what is remembered from part to part, zero between steps

    @staticmethod
    def from_settings(settings: Settings) -> "CentreRule":
        if settings.optimizer == "adamw":
            return AdamW(settings.momentum, settings.weight_decay)
        return Sgd(settings.momentum, settings.weight_decay)

    @abstractmethod
    def step(self, rows: Rows, gradient: Tensor, now: Part) -> None:
        """gradient: (k, d), may be written over."""

    @abstractmethod
    def begin(self, rows: Rows) -> None: ...

    @abstractmethod
    def add(self, rows: Rows, gradient: Tensor) -> None: ...

    @abstractmethod
    def move(self, rows: Rows, now: Part) -> None: ...


@dataclass(frozen=True)
class Sgd(CentreRule):
    """torch.optim.SGD with momentum and weight decay; parts are added up in the momentum itself."""

    moments: ClassVar[tuple[str, ...]] = ("momentum_buffer",)

    momentum: float = 0.9
    weight_decay: float = 5e-4

    def step(self, rows: Rows, gradient: Tensor, now: Part) -> None:
        gradient.add_(rows[CENTRES], alpha=self.weight_decay)
        rows["momentum_buffer"].mul_(self.momentum).add_(gradient)
        self.move(rows, now)

    def begin(self, rows: Rows) -> None:
        rows["momentum_buffer"].mul_(self.momentum).add_(rows[CENTRES], alpha=self.weight_decay)

    def add(self, rows: Rows, gradient: Tensor) -> None:
        rows["momentum_buffer"].add_(gradient)

    def move(self, rows: Rows, now: Part) -> None:
        rows[CENTRES].add_(rows["momentum_buffer"], alpha=-now.rate)


@dataclass(frozen=True)
class AdamW(CentreRule):
    """torch.optim.AdamW. Its moments are not linear in the gradient, so several parts take a buffer to add
    them up in, as large as the centres."""

    moments: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")
    between_parts: ClassVar[tuple[str, ...]] = ("gradient",)

    beta1: float = 0.9
    weight_decay: float = 5e-4
    beta2: float = 0.999
    epsilon: float = 1e-8

    def step(self, rows: Rows, gradient: Tensor, now: Part) -> None:
        count = now.step + 1
        rows[CENTRES].mul_(1 - now.rate * self.weight_decay)
        rows["exp_avg"].lerp_(gradient, 1 - self.beta1)
        rows["exp_avg_sq"].mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        spread = rows["exp_avg_sq"].sqrt().div_((1 - self.beta2**count) ** 0.5).add_(self.epsilon)
        rows[CENTRES].addcdiv_(rows["exp_avg"], spread, value=-now.rate / (1 - self.beta1**count))

    def begin(self, rows: Rows) -> None:
        """Nothing decays before the whole gradient is there."""

    def add(self, rows: Rows, gradient: Tensor) -> None:
        rows["gradient"].add_(gradient)

    def move(self, rows: Rows, now: Part) -> None:
        self.step(rows, rows["gradient"], now)
        rows["gradient"].zero_()


class Shard(nn.Module):
    """One rank's centres, (rows, d), and what its rule remembers of them.

    Without a rule the centres stay, and their gradient is left in `centres.grad`. With `sparse`, a step
    touches only the rows that are in its spans.
    """

    centres: Tensor

    def __init__(self, centres: Tensor, rule: CentreRule | None, block: int, *, sparse: bool):
        super().__init__()
        self.rule, self.block, self.sparse = rule, block, sparse
        self.register_buffer(CENTRES, centres)
        for name in rule.moments if rule else ():
            self.register_buffer(name, torch.zeros_like(centres))
        self.between: dict[str, Tensor] = {}  # what the rule remembers from part to part
        self.touched = torch.empty(0)  # (rows,) bool: those that a part of this step has begun, if sparse
        self.now = Part()
        self.broken = False  # the loss of a part of this step is no number

    def rows(self) -> dict[str, Tensor]:
        """Not copied."""
        return dict(self.named_buffers())

    def load_rows(self, rows: Rows) -> None:
        for name, mine in self.named_buffers():
            mine.copy_(rows[name])

    def prepare(self, now: Part) -> None:
        self.now = now
        if now.part:
            return
        if self.broken:
            self.between.clear()
        self.broken = False
        if now.parts > 1 and self.rule:
            rows = len(self.centres) if self.sparse else 0
            self.touched = torch.zeros(rows, dtype=torch.bool, device=self.centres.device)
            for name in self.rule.between_parts:
                if name not in self.between:
                    self.between[name] = torch.zeros_like(self.centres)

    def learn(self, span: Span, gradient: Tensor) -> None:
        """Takes in the gradient of this part's loss by the centres of a span, (k, d), and writes over it."""
        if self.rule is None:
            self._keep(span, gradient)
        elif self.broken:
            return
        elif self.now.parts == 1:
            with self._taken(span) as rows:
                self.rule.step(rows, gradient, self.now)
        else:
            with self._taken(self._untouched(span)) as rows:
                self.rule.begin(rows)
            with self._taken(span) as rows:
                self.rule.add(rows, gradient)

    def finish(self) -> None:
        """After all spans of a part: the last of several parts moves every row that any of them touched."""
        if self.rule is None or self.broken or self.now.parts == 1 or not self.now.last:
            return
        for span in all_spans(len(self.centres), self.block):
            with self._taken(span.where(self.touched) if self.sparse else span) as rows:
                self.rule.move(rows, self.now)

    def _untouched(self, span: Span) -> Span:
        """What of a span this step begins with now."""
        if not self.sparse:
            return span if self.now.part == 0 else Span(0, 0)
        fresh = span.where(~self.touched)
        fresh.put(self.touched, torch.ones_like(fresh.take(self.touched)))
        return fresh

    def _keep(self, span: Span, gradient: Tensor) -> None:
        if self.centres.grad is None:
            self.centres.grad = torch.zeros_like(self.centres)
        total = span.take(self.centres.grad).add_(gradient)
        span.put(self.centres.grad, total)

    @contextmanager
    def _taken(self, span: Span) -> Iterator[Rows]:
        """The rows of a span, to be written to."""
        whole = {**self.rows(), **self.between}
        rows = {name: span.take(tensor) for name, tensor in whole.items()}
        yield rows
        for name, tensor in whole.items():
            span.put(tensor, rows[name])
