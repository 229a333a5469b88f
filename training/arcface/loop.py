"""The steps of a run: train, verify, save, tell. Any moment is a good one to be stopped."""

import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from training.arcface import best, schedule, trouble
from training.arcface.augment.augmenter import Augmenter, Drawn
from training.arcface.data.order import batches
from training.arcface.data.store import Dataset
from training.arcface.learner import Learner, to_input
from training.arcface.plan import Plan
from training.arcface.progress import Losses, Progress, Throughput
from training.arcface.trouble import Circumstances, NotFiniteError
from training.container.errors import StoppedError, TrainingError
from training.container.stopping import Stop
from training.container.tracking import Trackers

__all__ = ["Loop", "Plan", "Progress", "ahead"]

SETTLE_EVERY = 100  # steps that a loss which is no number may go unseen on a GPU
LATE_SECONDS = 60  # of training that is saved before a verification rather than risked
CARRY_ON, SAVE, STOP = range(3)


@dataclass(frozen=True)
class _Batch:
    """This rank's share of a step."""

    step: int
    pixels: NDArray[Any]
    flips: NDArray[Any] | None
    changes: Drawn
    labels: NDArray[Any]


class Loop:
    """Runs `plan` from where `progress` is.

    All ranks call these together: `save(progress)`; `verify()`, whose figures may be None; when they are the
    best so far, `keep_best(progress)`; and `reload()`, which undoes the steps since the newest checkpoint.
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
        keep_best: Callable[[Progress], None] | None = None,
        reload: Callable[[], Progress] | None = None,
        trackers: Trackers | None = None,
    ):
        self.learner, self.dataset, self.plan, self.progress = learner, dataset, plan, progress
        self.settings, self.world = learner.settings, learner.world
        self.stop, self.save, self.verify, self.log = stop, save, verify, log
        self.keep_best, self.reload, self.trackers = keep_best, reload, trackers or Trackers()
        self.augmenter = Augmenter(self.settings, self.world.device)
        self.counts = plan.counts(self.world.size)
        self.losses, self.throughput = Losses(), Throughput()
        self.saved_at = time.monotonic()

    def run(self) -> None:
        """Raises StoppedError, all saved, when told to stop; TrainingError where the loss is no number."""
        if not self.learner.is_finite():
            raise TrainingError(trouble.of_weights(self.progress.step))
        if self._may_retry() and not self.progress.step:
            self.save(self.progress)  # what to go back to before the first checkpoint
        try:
            self._run()
        except NotFiniteError as error:
            if not self._may_retry():
                raise TrainingError(self._circumstances(error).message()) from error
            self._go_back(error)
            self.run()

    def _run(self) -> None:
        self._verify_if_due()
        with closing(self._steps()) as steps:
            while not self._is_over():
                rate, loss = next(steps)  # the first one may compile for minutes
                self.stop.wait()  # from here on there is something to save
                self._count(loss, rate)
                self._save_or_stop()  # before a verification, which may outlast the time to stop
                self._verify_if_due()
        self.stop.wait()
        self.save(self.progress)

    def _is_over(self) -> bool:
        progress, patience = self.progress, self.settings.patience
        if progress.step >= self.plan.total:
            return True
        if not patience or progress.without_better < patience:
            return False
        if found := progress.best:
            self.log(
                f"stopped early step={progress.step}/{self.plan.total} best_step={found['step']} "
                f"best_{found['metric']}={found['value']:.4f} without_better={progress.without_better}"
            )
        return True

    # -- Steps ---------------------------------------------------------------------------------------------

    def _steps(self) -> Generator[tuple[float, Tensor]]:
        """Makes one step each time; gives its learning rate and loss."""
        with closing(ahead(self._batches())) as upcoming:
            for batch in upcoming:
                rate = self._rate(batch.step)
                yield rate, self.learner.step(self._parts(batch), batch.step, rate, self.counts)

    def _batches(self) -> Iterator[_Batch]:
        plan, first = self.plan, self.progress.step
        mine = slice(*self.world.shard(plan.batch))
        for step, indices, flips in batches(plan.images, plan.batch, self.settings.seed, first, plan.total):
            pixels, taken = self.dataset.images.take(indices[mine])
            flipped = flips[mine] if self.settings.flip else None
            changes = self.augmenter.draw(step, len(indices))[mine]
            yield _Batch(step, pixels, flipped, changes, self.dataset.listing.labels[taken])

    def _parts(self, batch: _Batch) -> Iterator[tuple[Tensor, Tensor]]:
        """One after the other, so that the device holds one part's images as floats."""
        device, bounds = self.world.device, schedule.cuts(len(batch.labels), self.plan.parts)
        for first, last in pairwise(bounds):
            rows = slice(first, last)
            flips = None if batch.flips is None else batch.flips[rows]
            images = to_input(batch.pixels[rows], device, flips, batch.changes[rows])
            yield images, torch.from_numpy(batch.labels[rows]).to(device)

    def _rate(self, step: int) -> float:
        return self.plan.rate(step, self.settings.lr * self.progress.lr_factor)

    # -- Figures -------------------------------------------------------------------------------------------

    def _count(self, loss: Tensor, rate: float) -> None:
        progress, plan = self.progress, self.plan
        progress.step += 1
        self.losses.add(loss)
        self.throughput.add(plan.batch)
        at_epoch_end = progress.step % plan.per_epoch == 0 or progress.step == plan.total
        tells = progress.step % self.settings.log_interval == 0 or at_epoch_end
        if tells or progress.step % SETTLE_EVERY == 0 or loss.device.type == "cpu":
            self._settle()
        if tells:
            self._tell(rate)
        if at_epoch_end:
            steps = (progress.step - 1) % plan.per_epoch + 1
            mean = progress.epoch_loss / steps
            progress.epochs.append({"epoch": plan.epoch(progress.step), "loss": mean, "lr": rate})
            progress.epoch_loss = 0.0

    def _settle(self) -> None:
        """Raises NotFiniteError at the first loss that is no number."""
        losses = self.losses.settle()
        for step, loss in enumerate(losses, self.progress.step - len(losses) + 1):
            if not abs(loss) < float("inf"):
                raise NotFiniteError(loss, step)
            self.progress.add(loss)

    def _tell(self, rate: float) -> None:
        """The line that the metric expressions of training.jobs.algorithms read, and the curve's point."""
        progress, plan, interval = self.progress, self.plan, self.settings.log_interval
        step, loss, speed = progress.step, progress.take_line_loss(), self.throughput.take()
        self.log(
            f"epoch={plan.epoch(step)} step={step}/{plan.total} loss={loss:.4f} "
            f"lr={rate:.6f} images_per_second={speed:.1f}"
        )
        point = {"step": step, "loss": loss, "lr": rate, "images_per_second": round(speed, 1)}
        self.trackers.train(point)
        every = plan.lines_per_point(interval)
        if every == 1 or step % (interval * every) == 0 or step == plan.total:
            progress.curve.append(point)

    # -- Verification --------------------------------------------------------------------------------------

    def _verify_if_due(self) -> None:
        """Also after a resume from a checkpoint made between a step and its verification."""
        progress, step = self.progress, self.progress.step
        if not self.plan.verifies_at(step) or any(done["step"] == step for done in progress.verifications):
            return
        self._save_if_late()
        started = time.monotonic()
        figures = self.verify()
        if figures is not None:
            progress.verifications.append({"step": step, "epoch": self.plan.epoch(step), **figures})
            self.trackers.verification(step, figures)
            self._judge(figures)
        elif self.settings.best_metric != best.LAST:
            raise TrainingError(
                f"best_metric {self.settings.best_metric} needs a verification, and this run has none: add a "
                f"validation channel, raise holdout_fraction, or set best_metric to {best.LAST}"
            )
        self.throughput.pause(time.monotonic() - started)

    def _judge(self, figures: dict[str, Any]) -> None:
        """Counts and keeps the best. What the untrained network verifies at is no candidate."""
        progress, metric = self.progress, self.settings.best_metric
        verdict = best.judge(figures, progress.step, metric, progress.best, progress.without_better)
        if not progress.step:
            return
        progress.best, progress.without_better = verdict.best, verdict.without_better
        if verdict.improved and metric != best.LAST and self.keep_best:
            self.keep_best(progress)

    # -- Saving, stopping, trouble ------------------------------------------------------------------------

    def _save_or_stop(self) -> None:
        progress = self.progress
        if progress.step >= self.plan.total:
            return
        # Processors ask each other, so no GPU is waited for: at each step, for one of many parts takes long.
        wish = int(self.world.maximum(torch.tensor([self._wish()])).item())
        if wish == CARRY_ON:
            return
        self._settle()
        self.save(progress)
        self.saved_at = time.monotonic()
        if wish == STOP:
            raise StoppedError(f"after step {progress.step} of {self.plan.total}")

    def _save_if_late(self) -> None:
        """For the service may kill the job during what comes next."""
        late = self.progress.step > 0 and time.monotonic() - self.saved_at >= LATE_SECONDS
        if self.world.maximum(torch.tensor([int(late)])).item():
            self._settle()
            self.save(self.progress)
            self.saved_at = time.monotonic()

    def _wish(self) -> int:
        if self.stop.requested:
            return STOP
        every = self.settings.checkpoint_steps
        due = bool(every) and self.progress.step % every == 0
        overdue = time.monotonic() - self.saved_at >= self.settings.checkpoint_seconds
        return SAVE if due or (overdue and self.world.rank == 0) else CARRY_ON

    def _may_retry(self) -> bool:
        return bool(self.settings.retry_lr and self.reload) and self.progress.lr_factor == 1.0

    def _go_back(self, error: NotFiniteError) -> None:
        """To the newest checkpoint, to go on from there at a lower rate."""
        assert self.reload is not None
        cause, _ = self._circumstances(error).cause()
        self.losses, self.throughput = Losses(), Throughput()
        self.progress.become(self.reload())
        self.progress.lr_factor = self.settings.retry_lr
        self.log(
            f"{error} of {self.plan.total} (likeliest cause: {cause}): once more from step "
            f"{self.progress.step} with lr={self.settings.lr * self.settings.retry_lr:g}"
        )

    def _circumstances(self, error: NotFiniteError) -> Circumstances:
        plan, settings, factor = self.plan, self.settings, self.progress.lr_factor
        return Circumstances(
            loss=error.loss,
            step=error.step,
            total=plan.total,
            per_epoch=plan.per_epoch,
            warmup=plan.warmup,
            rate=self._rate(error.step - 1),
            peak=settings.lr * factor,
            optimizer=settings.optimizer,
            batch=plan.batch,
            dtype=self.learner.dtype,
            earlier=tuple(point["loss"] for point in self.progress.curve),
            retried=factor != 1.0,
        )


def ahead(items: Iterator[Any]) -> Generator[Any]:
    """The same items, each made in another thread while the one before is in use."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = pool.submit(next, items, None)
            yield item
