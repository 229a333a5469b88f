"""Why a loss is no number: the likeliest cause, by simple rules that docs/training.md lists."""

import math
from dataclasses import dataclass

import torch

from training.arcface import schedule

FAR_ABOVE_USUAL = 5  # times the rate that recipes use
ROSE = 1.5  # times the lowest loss before


def of_weights(step: int) -> str:
    """What to say where the weights are no numbers before any step on them."""
    if step:
        return f"the checkpoint of step {step} holds weights that are no numbers: `train --resume never`"
    return "some weights are no numbers before the first step: start from another file, or from none"


def warning(optimizer: str, lr: float, batch: int) -> str:
    """A note on a rate that AdamW will hardly bear, SGD's default among them; empty where there is none."""
    usual = schedule.usual_rate(optimizer, batch)
    if optimizer == "sgd" or lr <= FAR_ABOVE_USUAL * usual:
        return ""
    return f"note: lr={lr:g} is far above what {optimizer} usually has: {usual:g}"


class NotFiniteError(Exception):
    """A step's loss is no number."""

    def __init__(self, loss: float, step: int):
        super().__init__(f"the loss is {loss} at step {step}")
        self.loss, self.step = loss, step


@dataclass(frozen=True)
class Circumstances:
    """Those in which the loss of `step` (1, 2, …) became no number."""

    loss: float
    step: int
    total: int
    per_epoch: int
    warmup: int  # steps
    rate: float  # of that step
    peak: float
    optimizer: str
    batch: int
    dtype: torch.dtype
    earlier: tuple[float, ...]  # the losses of the log lines before it
    retried: bool = False

    def message(self) -> str:
        """One sentence: step, learning rate, the likeliest cause and its remedy."""
        cause, remedy = self.cause()
        again = ", also at the lower rate of its retry" if self.retried else ""
        return (
            f"the loss is {self.loss} at step {self.step} of {self.total} (lr {self.rate:g}){again}; "
            f"likeliest cause: {cause}: {remedy}"
        )

    def cause(self) -> tuple[str, str]:
        """(cause, remedy): the first rule that fits."""
        usual = schedule.usual_rate(self.optimizer, self.batch)
        half = self.dtype == torch.float16
        if self.step == 1 and not half:
            return (
                "the weights it started from, for no step had changed them yet",
                "check the weights channel's file, or start without it",
            )
        if self.step > 1 and self.peak > FAR_ABOVE_USUAL * usual:
            return (
                f"lr {self.peak:g} is far above what {self.optimizer} usually has at {self.batch} images a "
                "step",
                f"lower lr (try {usual:.1g})",
            )
        if half:
            return "fp16 holds no number above 65504", "set precision to bf16, fp32 or auto"
        if self.step <= self.per_epoch and not self.warmup:
            return "the full learning rate from the first step on", "set warmup_epochs (try 1)"
        if self._rose():
            before = f"the learning rate: the loss had risen from {min(self.earlier):.3g} to "
            return before + f"{self.earlier[-1]:.3g}", f"lower lr (try {self.peak / 10:.1g})"
        return "the learning rate", f"lower lr (try {self.peak / 10:.1g}) or set precision to fp32"

    def _rose(self) -> bool:
        finite = [loss for loss in self.earlier if math.isfinite(loss)]
        return len(finite) > 1 and finite[-1] > ROSE * min(finite)
