"""The steps of a run: train, verify, save, tell. Any moment is a good one to be stopped."""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from training.arcface import schedule
from training.arcface.data.order import batches
from training.arcface.data.store import Dataset
from training.arcface.distributed import World
from training.arcface.errors import StoppedError, TrainingError
from training.arcface.learner import Learner, to_input
from training.arcface.settings import Settings
from training.arcface.stopping import Stop

# On a GPU, asking the ranks whether to stop waits for the device: not at every step.
ASK_RANKS_EVERY = {"cpu": 1, "cuda": 10}
CARRY_ON, SAVE, STOP = range(3)


@dataclass
class Progress:
    """Where a run is: saved with the weights, so that its figures, too, do not show an interruption."""

    step: int = 0
    epoch_loss: float = 0.0  # sum over the steps of this epoch so far
    epochs: list[dict[str, float]] = field(default_factory=list)  # epoch, loss, lr
    verifications: list[dict[str, Any]] = field(default_factory=list)  # step, epoch and the figures

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """How many steps there are, and of what size."""

    images: int
    batch: int  # of all ranks together
    per_epoch: int
    total: int
    epochs: int
    warmup: int
    verifications: int

    @classmethod
    def make(
        cls, images: int, settings: Settings, world: World, embedded: int = 0, batch: int | None = None
    ) -> "Plan":
        """Raises TrainingError where a rank would get fewer than the two images that BatchNorm needs.

        embedded: forward passes that one verification takes. batch: of all ranks, where a run is resumed.
        """
        share = min(settings.batch_size, images // world.size)
        if share < 2:
            raise TrainingError(
                f"{images} images are too few for {world.size} ranks: each needs two at a time"
            )
        batch = batch or share * world.size
        per_epoch = schedule.steps_per_epoch(images, batch)
        total = schedule.total_steps(images, batch, settings.epochs, settings.max_steps)
        warmup = min(total, round(settings.warmup_epochs * per_epoch))
        epochs = math.ceil(total / per_epoch)
        verifications = schedule.verifications(total * batch, embedded)
        return cls(images, batch, per_epoch, total, epochs, warmup, verifications)

    def rate(self, step: int, peak: float) -> float:
        return schedule.learning_rate(step, peak=peak, warmup=self.warmup, total=self.total)

    def verifies_at(self, step: int) -> bool:
        """Before the first step, after the last, and after some epochs between."""
        if step in (0, self.total):
            return True
        epoch, rest = divmod(step, self.per_epoch)
        return rest == 0 and schedule.verification_due(epoch, self.epochs, self.verifications)


class Loop:
    """Runs `plan` from where `progress` is.

    `save(progress)` and `verify()` are called by all ranks together.
    """

    def __init__(
        self,
        learner: Learner,
        dataset: Dataset,
        plan: Plan,
        progress: Progress,
        *,
        stop: Stop,
        save: Callable[[Progress], None],
        verify: Callable[[], dict[str, Any] | None],
        log: Callable[[str], None],
    ):
        self.learner, self.dataset, self.plan, self.progress = learner, dataset, plan, progress
        self.settings, self.world = learner.settings, learner.world
        self.stop, self.save, self.verify, self.log = stop, save, verify, log
        self.interval = Interval()
        self.saved_at = time.monotonic()

    def run(self) -> None:
        """Raises StoppedError, all saved, when told to stop; TrainingError where the loss is no number."""
        self._verify_if_due()
        for rate, loss in self._steps():
            self._count(loss, rate)
            self._verify_if_due()
            self._save_or_stop()
        self.save(self.progress)

    def _steps(self) -> Iterator[tuple[float, Tensor]]:
        """Makes one step each time; gives its learning rate and loss."""
        for step, pixels, flips, labels in ahead(self._batches()):
            rate = self.plan.rate(step, self.settings.lr)
            device = self.world.device
            images = to_input(pixels, device, flips if self.settings.flip else None)
            yield rate, self.learner.step(images, torch.from_numpy(labels).to(device), rate)

    def _batches(self) -> Iterator[tuple[int, NDArray[Any], NDArray[Any], NDArray[Any]]]:
        """This rank's share of each step's batch: step, pixels, flips, labels."""
        plan, first = self.plan, self.progress.step
        mine = slice(*self.world.shard(plan.batch))
        for step, indices, flips in batches(plan.images, plan.batch, self.settings.seed, first, plan.total):
            pixels, taken = self.dataset.images.take(indices[mine])
            yield step, pixels, flips[mine], self.dataset.listing.labels[taken]

    def _count(self, loss: Tensor, rate: float) -> None:
        progress, plan = self.progress, self.plan
        progress.step += 1
        # Adding on the device keeps the GPU from waiting; `_settle` brings the sum here.
        self.interval.add(loss, plan.batch)
        at_epoch_end = progress.step % plan.per_epoch == 0 or progress.step == plan.total
        if progress.step % self.settings.log_interval == 0 or at_epoch_end or loss.device.type == "cpu":
            self._settle(rate)
        if progress.step % self.settings.log_interval == 0 or at_epoch_end:
            self.log(self._line(rate))
            self.interval = Interval()
        if at_epoch_end:
            steps = (progress.step - 1) % plan.per_epoch + 1
            epoch = math.ceil(progress.step / plan.per_epoch)
            progress.epochs.append({"epoch": epoch, "loss": progress.epoch_loss / steps, "lr": rate})
            progress.epoch_loss = 0.0

    def _settle(self, rate: float) -> None:
        """Raises TrainingError where the loss is not finite."""
        new = self.interval.settle()
        if not math.isfinite(new):
            raise TrainingError(
                f"the loss is {new} at step {self.progress.step} of {self.plan.total} (lr {rate:g}): "
                f"lower lr (try {rate / 10:.1g}), lengthen warmup_epochs, or set precision to fp32"
            )
        self.progress.epoch_loss += new

    def _line(self, rate: float) -> str:
        """What the metric expressions of training.jobs.algorithms read."""
        step, plan, interval = self.progress.step, self.plan, self.interval
        return (
            f"epoch={math.ceil(step / plan.per_epoch)} step={step}/{plan.total} loss={interval.mean():.4f} "
            f"lr={rate:.6f} images_per_second={interval.images_per_second():.1f}"
        )

    def _verify_if_due(self) -> None:
        """Also after a resume from a checkpoint made between a step and its verification."""
        progress, step = self.progress, self.progress.step
        if not self.plan.verifies_at(step) or any(done["step"] == step for done in progress.verifications):
            return
        started = time.monotonic()
        figures = self.verify()
        if figures is not None:
            epoch = math.ceil(step / self.plan.per_epoch)
            progress.verifications.append({"step": step, "epoch": epoch, **figures})
        self.interval.pause(time.monotonic() - started)

    def _save_or_stop(self) -> None:
        progress = self.progress
        if progress.step >= self.plan.total or progress.step % ASK_RANKS_EVERY[self.world.device.type]:
            return
        wish = self._wish()
        if self.world.size > 1:
            wish = int(self.world.maximum(torch.tensor([wish], device=self.world.device)).item())
        if wish == CARRY_ON:
            return
        self._settle(self.plan.rate(progress.step, self.settings.lr))
        self.save(progress)
        self.saved_at = time.monotonic()
        if wish == STOP:
            raise StoppedError(f"after step {progress.step} of {self.plan.total}")

    def _wish(self) -> int:
        if self.stop.requested:
            return STOP
        overdue = time.monotonic() - self.saved_at >= self.settings.checkpoint_seconds
        return SAVE if overdue and self.world.rank == 0 else CARRY_ON


class Interval:
    """What happened since the last log line."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.images = self.steps = 0
        self.loss = 0.0
        self.unsettled: Tensor | None = None

    def add(self, loss: Tensor, images: int) -> None:
        self.unsettled = loss.double() if self.unsettled is None else self.unsettled + loss
        self.images += images
        self.steps += 1

    def settle(self) -> float:
        """The sum of the losses added since the last call."""
        new = float(self.unsettled) if self.unsettled is not None else 0.0
        self.unsettled = None
        self.loss += new
        return new

    def mean(self) -> float:
        return self.loss / self.steps

    def images_per_second(self) -> float:
        return self.images / max(1e-9, time.monotonic() - self.started)

    def pause(self, seconds: float) -> None:
        self.started += seconds


def ahead(items: Iterator[Any]) -> Iterator[Any]:
    """The same items, each made in another thread while the one before is in use."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = pool.submit(next, items, None)
            yield item
