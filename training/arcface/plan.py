"""How many steps a run has, of what size, at what rate: fixed at its start, on any number of ranks."""

import math
from dataclasses import dataclass

from training.arcface import schedule
from training.arcface.best import LAST
from training.arcface.distributed import World
from training.arcface.settings import Settings
from training.container.errors import TrainingError

LEAST = 2  # images that BatchNorm needs at a time
CURVE_POINTS = 2000  # more would only make checkpoints and pages heavy


@dataclass(frozen=True)
class Plan:
    """What the ranks agree on before the first step. Only `parts` depends on how many there are."""

    images: int
    batch: int  # images per step, of all ranks together
    parts: int  # into which each rank cuts its share of a step
    per_epoch: int
    total: int
    epochs: int
    warmup: int
    verifications: int
    decay: str = "polynomial"

    @classmethod
    def make(
        cls, images: int, settings: Settings, world: World, embedded: int = 0, batch: int | None = None
    ) -> "Plan":
        """embedded: forward passes that one verification takes; batch: that of the run which is resumed.

        Without `batch` it is batch_size x ranks x accumulate, or what the images allow. Raises TrainingError
        where a rank would get fewer than two images.
        """
        batch = min(batch or _batch(images, settings, world), images)
        if batch // world.size < LEAST:
            raise TrainingError(_too_few(images, batch, world))
        per_epoch = schedule.steps_per_epoch(images, batch)
        total = schedule.total_steps(images, batch, settings.epochs, settings.max_steps)
        epochs = math.ceil(total / per_epoch)
        return cls(
            images=images,
            batch=batch,
            parts=schedule.parts_per_step(batch, world.size, settings.batch_size),
            per_epoch=per_epoch,
            total=total,
            epochs=epochs,
            warmup=min(total, round(settings.warmup_epochs * per_epoch)),
            verifications=_verifications(settings, total * batch, embedded, epochs),
            decay=settings.lr_decay,
        )

    def rate(self, step: int, peak: float) -> float:
        return schedule.learning_rate(step, peak=peak, warmup=self.warmup, total=self.total, decay=self.decay)

    def epoch(self, step: int) -> int:
        """The epoch (1, 2, …) in which so many steps are done."""
        return math.ceil(step / self.per_epoch)

    def verifies_at(self, step: int) -> bool:
        """Before the first step, after the last, and after some epochs between."""
        if step in (0, self.total):
            return True
        epoch, rest = divmod(step, self.per_epoch)
        return rest == 0 and schedule.verification_due(epoch, self.epochs, self.verifications)

    def counts(self, ranks: int) -> list[list[int]]:
        """For each part of a step, how many of its images each rank has."""
        bounds = [schedule.cuts(self.share(rank, ranks), self.parts) for rank in range(ranks)]
        return [[cut[part + 1] - cut[part] for cut in bounds] for part in range(self.parts)]

    def share(self, rank: int, ranks: int) -> int:
        """Images per step of one rank."""
        first, last = World(rank, ranks).shard(self.batch)
        return last - first

    def lines_per_point(self, log_interval: int) -> int:
        """How many log lines make one point of the curve, so that it has CURVE_POINTS at most."""
        return 1 + (self.total // log_interval + self.epochs) // CURVE_POINTS


def _verifications(settings: Settings, trained: int, embedded: int, epochs: int) -> int:
    """After each epoch where something hangs on it, else as often as costs little."""
    if settings.patience or settings.best_metric != LAST:
        return epochs
    return schedule.verifications(trained, embedded)


def _batch(images: int, settings: Settings, world: World) -> int:
    share = min(settings.batch_size * settings.accumulate, images // world.size)
    return share * world.size


def _too_few(images: int, batch: int, world: World) -> str:
    if images // world.size < LEAST:
        return f"{images} images are too few for {world.size} ranks: each needs two at a time"
    return (
        f"this run was started with {batch} images per step, too few for {world.size} ranks: each needs two: "
        f"resume it on at most {batch // LEAST} devices, or start it anew"
    )
