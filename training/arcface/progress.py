"""Where a run is, and the figures of its steps."""

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Progress:
    """Saved with the weights, so that a run's figures, too, do not show an interruption."""

    step: int = 0
    epoch_loss: float = 0.0  # sum over the steps of this epoch so far
    epochs: list[dict[str, float]] = field(default_factory=list)  # epoch, loss, lr
    verifications: list[dict[str, Any]] = field(default_factory=list)  # step, epoch and the figures
    curve: list[dict[str, float]] = field(default_factory=list)  # step, loss, lr, images_per_second
    best: dict[str, Any] | None = None  # step, metric, value
    without_better: int = 0  # verifications since the best
    lr_factor: float = 1.0  # below 1 after a retry
    line_loss: float = 0.0  # sum over the steps since the last log line
    line_steps: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def add(self, loss: float) -> None:
        self.epoch_loss += loss
        self.line_loss += loss
        self.line_steps += 1

    def take_line_loss(self) -> float:
        """The mean loss since the last log line; the next line starts from nothing."""
        mean = self.line_loss / max(1, self.line_steps)
        self.line_loss, self.line_steps = 0.0, 0
        return mean

    def become(self, other: "Progress") -> None:
        """All that the other is: whoever holds this one sees it."""
        for name, value in other.as_dict().items():
            setattr(self, name, value)


class Losses:
    """Losses that are still on the device: to fetch each at once would make a GPU wait."""

    def __init__(self) -> None:
        self.waiting: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        self.waiting.append(loss)

    def settle(self) -> list[float]:
        """Those added since the last call, in order."""
        values: list[float] = torch.stack(self.waiting).tolist() if self.waiting else []
        self.waiting = []
        return values


class Throughput:
    """Images per second of this process since the last log line."""

    def __init__(self) -> None:
        self.started, self.images = time.monotonic(), 0

    def add(self, images: int) -> None:
        self.images += images

    def pause(self, seconds: float) -> None:
        """So much of the time went to something else."""
        self.started += seconds

    def take(self) -> float:
        """The rate; the next starts from nothing."""
        now = time.monotonic()
        rate = self.images / max(1e-9, now - self.started)
        self.started, self.images = now, 0
        return rate
