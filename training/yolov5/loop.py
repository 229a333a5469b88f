"""The batches of a run: train, measure, save, tell. Any moment is a good one to be stopped."""

import math
import time
from collections.abc import Callable

from torch import Tensor

from training.container.errors import StoppedError, TrainingError
from training.container.stopping import Stop
from training.container.tracking import Trackers
from training.yolov5.detection import Detection
from training.yolov5.learner import LOSSES, Learner
from training.yolov5.samples import Samples, batches, order
from training.yolov5.saving import Log, Progress, Saver
from training.yolov5.schedule import Curve, Plan, Rates
from training.yolov5.settings import Settings

MEASURED = "detection"  # what trackers call the figures
LATE_SECONDS = 60  # of training that is saved before a measurement rather than risked
CURVE_POINTS = 2000  # of the report, at most


class Loop:
    """Runs `plan` from where `progress` is.

    measure: told what to call after each batch; None where there is nothing to measure on.
    """

    def __init__(
        self,
        learner: Learner,
        samples: Samples,
        plan: Plan,
        progress: Progress,
        saver: Saver,
        *,
        stop: Stop,
        measure: Callable[[Callable[[], None]], Detection] | None,
        log: Log,
        workers: int,
        trackers: Trackers,
    ):
        self.learner, self.samples, self.plan, self.progress, self.saver = (
            learner,
            samples,
            plan,
            progress,
            saver,
        )
        self.settings: Settings = learner.settings
        self.stop, self.measure, self.log, self.workers = stop, measure, log, workers
        self.trackers = trackers
        self.rates = _curve(self.settings)
        self.last: Detection | None = None
        self.saved_at = self.told_at = time.monotonic()
        self.pictures = 0  # since the last log line
        self.waiting: list[dict[str, Tensor]] = []  # losses that are still on the device

    def run(self) -> None:
        """Raises StoppedError, all saved, when told to stop; TrainingError where a loss is no number."""
        self._measure_if_due()
        if not self._is_over():
            keys = order(len(self.samples), self.plan, self.settings.seed, self.progress.step)
            for batch in batches(self.samples, keys, self.workers):
                rates = self.rates.at(self.progress.step, self.plan)
                self.waiting.append(self.learner.add(batch, rates))
                self.stop.wait()  # from here on there is something to save
                self._count(len(batch["img"]), rates)
                self._save_or_stop()  # before a measurement, which may outlast the time to stop
                self._measure_if_due()
                if self._is_over():
                    break
        self.stop.wait()
        self._settle()
        self.saver.save(self.progress)

    def _is_over(self) -> bool:
        progress, patience = self.progress, self.settings.patience
        if progress.step >= self.plan.end:
            return True
        if not patience or progress.without_better < patience or progress.best is None:
            return False
        self.log(
            f"stopped early step={progress.step}/{self.plan.end} best_epoch={progress.best['epoch']} "
            f"best_map50_95={progress.best['map50_95']:.4f} without_better={progress.without_better}"
        )
        return True

    # -- Figures -------------------------------------------------------------------------------------------

    def _count(self, pictures: int, rates: Rates) -> None:
        self.progress.step += 1
        self.pictures += pictures
        step, end = self.progress.step, self.plan.end
        if step % self.settings.log_interval == 0 or step % self.plan.per_epoch == 0 or step == end:
            self._settle()
            self._tell(rates)

    def _settle(self) -> None:
        """Fetches the losses from the device. Raises TrainingError where one is no number."""
        progress, waiting = self.progress, self.waiting
        self.waiting = []
        for number, losses in enumerate(waiting, progress.step - len(waiting) + 1):
            for name, loss in losses.items():
                value = float(loss)
                if not math.isfinite(value):
                    raise TrainingError(self._trouble(name, value, number))
                progress.sums[name] = progress.sums.get(name, 0.0) + value
            progress.summed += 1

    def _trouble(self, name: str, value: float, step: int) -> str:
        rate = self.rates.at(step - 1, self.plan).lr
        remedy = f"lower lr (try {self.settings.lr / 10:g})"
        if self.learner.scaler.is_enabled():
            remedy = "set precision to bf16, fp32 or auto, or " + remedy
        return f"{name} is {value} at step {step} of {self.plan.end} (lr {rate:g}): {remedy}"

    def _tell(self, rates: Rates) -> None:
        """The line that the metric expressions of training.jobs.algorithms read, and the curve's point."""
        progress, plan, now = self.progress, self.plan, time.monotonic()
        losses = {name: progress.sums.get(name, 0.0) / max(1, progress.summed) for name in LOSSES}
        speed = self.pictures / max(1e-9, now - self.told_at)
        self.log(
            f"epoch={plan.epoch(progress.step)} step={progress.step}/{plan.end} "
            + " ".join(f"{name}={value:.4f}" for name, value in losses.items())
            + f" lr={rates.lr:.6f} images_per_second={speed:.1f}"
        )
        progress.sums, progress.summed, self.pictures, self.told_at = {}, 0, 0, now
        point = {"step": progress.step, **losses, "lr": rates.lr, "images_per_second": round(speed, 1)}
        progress.curve.append(point)
        self.trackers.train(point)
        if len(progress.curve) > CURVE_POINTS:
            del progress.curve[::2]

    # -- Measuring -----------------------------------------------------------------------------------------

    def _measure_if_due(self) -> None:
        """After each epoch; also after a resume from a checkpoint made between its end and that."""
        progress, step = self.progress, self.progress.step
        due = step > 0 and (step % self.plan.per_epoch == 0 or step == self.plan.end)
        if not due or self.measure is None or any(done["step"] == step for done in progress.measured):
            return
        if time.monotonic() - self.saved_at >= LATE_SECONDS:
            self._save()
        started = time.monotonic()
        self.saver.writer.wait()  # measuring forks processes, best without a thread that holds a lock
        self.last = self.measure(self._stop_if_asked)
        figures = {name: value for name, value in self.last.figures.items() if name != "classes"}
        epoch = self.plan.epoch(step)
        progress.measured.append({"step": step, "epoch": epoch, **figures})
        self.trackers.verification(step, figures, MEASURED)
        self.log(f"detection epoch={epoch} step={step} " + " ".join(f"{k}={v}" for k, v in figures.items()))
        before = progress.best["map50_95"] if progress.best else -1.0
        progress.without_better = 0 if figures["map50_95"] > before else progress.without_better + 1
        if figures["map50_95"] >= before:  # of equals the later one: early epochs may find nothing at all
            progress.best = {"step": step, "epoch": epoch, "map50_95": figures["map50_95"]}
            self.saver.keep_best(progress)
        self.told_at += time.monotonic() - started

    # -- Saving and stopping -------------------------------------------------------------------------------

    def _save_or_stop(self) -> None:
        step, every = self.progress.step, self.settings.checkpoint_steps
        if step >= self.plan.end:
            return
        late = time.monotonic() - self.saved_at >= self.settings.checkpoint_seconds
        self._stop_if_asked()
        if late or (every and step % every == 0):
            self._save()

    def _stop_if_asked(self) -> None:
        """Also in the midst of a measurement, which the run makes again when it is resumed."""
        if self.stop.requested:
            self._save()
            raise StoppedError(f"after step {self.progress.step} of {self.plan.end}")

    def _save(self) -> None:
        self._settle()
        self.saver.save(self.progress)
        self.saved_at = time.monotonic()


def _curve(settings: Settings) -> Curve:
    return Curve(
        settings.lr,
        settings.lr_final,
        settings.lr_decay == "cosine",
        settings.momentum,
        settings.warmup_momentum,
        settings.warmup_bias_lr,
    )
