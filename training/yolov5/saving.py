"""A run's checkpoints: what is in one, when it may be continued, and who writes it."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from training.container import checkpoint
from training.container.errors import TrainingError
from training.container.writing import Writer
from training.yolov5.dataset import Data
from training.yolov5.learner import Learner
from training.yolov5.network import Network
from training.yolov5.settings import Settings

FORMAT = 1  # raised when a later trainer could not read what this one writes

Log = Callable[[str], None]


@dataclass
class Progress:
    """Saved with the weights, so that a run's figures, too, do not show an interruption."""

    step: int = 0  # batches
    measured: list[dict[str, Any]] = field(default_factory=list)  # step, epoch and the figures
    curve: list[dict[str, float]] = field(default_factory=list)  # step, losses, lr, images_per_second
    best: dict[str, Any] | None = None  # step, epoch, map50_95
    without_better: int = 0  # epochs since the best
    sums: dict[str, float] = field(default_factory=dict)  # of the losses since the last log line
    summed: int = 0  # batches in them


def fingerprint(network: Network, classes: Sequence[str], settings: Settings, data: Data) -> dict[str, str]:
    """What must not change between two parts of one run, each under the name a message would use."""
    pictures = hashlib.sha256()
    for part in (data.train, data.val):
        for file, boxes in zip(part.files, part.boxes, strict=True):
            pictures.update(f"{file}\n".encode() + boxes.tobytes())
    return {
        "model": hashlib.sha256(repr(network.layers).encode()).hexdigest()[:12],
        "classes": hashlib.sha256("\n".join(classes).encode()).hexdigest()[:12],
        "images or labels": pictures.hexdigest()[:12],
        **{name: str(getattr(settings, name)) for name in ("seed", "optimizer", "batch_size", "image_size")},
    }


def prepare(folder: Path, marks: Mapping[str, str], log: Log, *, resume: bool) -> None:
    """Tidies the folder. Without `resume` what is there is put aside.

    Raises TrainingError where it is of another run.
    """
    if not resume and (place := checkpoint.set_aside(folder)):
        log(f"resume=never: the checkpoints found were moved to {place}")
    checkpoint.clean(folder, log)
    about = checkpoint.newest_about(folder)
    if about is None:
        return
    theirs = about.get("marks", {})
    changed = [name for name, value in marks.items() if theirs.get(name) != value]
    if about.get("format") != FORMAT or about.get("algorithm") != "yolov5":
        changed = ["the trainer's version"]
    if changed:
        raise TrainingError(
            f"{folder} holds a checkpoint of another run: {', '.join(changed)} changed since: start under a "
            f"new job name, empty that folder, or begin anew with `train --resume never`"
        )


class Saver:
    """Saves and resumes one run. Two checkpoints are kept, and the best weights that each of them knows."""

    def __init__(self, folder: Path, learner: Learner, marks: Mapping[str, str], total: int, log: Log):
        self.folder, self.learner, self.marks, self.total, self.log = folder, learner, marks, total, log
        self.writer = Writer(log)
        self.saved: int | None = None  # the step of the newest

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.wait()

    def resume(self) -> Progress:
        """The progress of the newest whole checkpoint, its state loaded; a new one where there is none."""
        found = checkpoint.newest(self.folder, self.log)
        if found is None:
            return Progress()
        _, state = found
        self.learner.load_state(state["learner"])
        progress = Progress(**state["progress"])
        self.saved = progress.step
        self.log(f"resumed step={progress.step}/{self.total}")
        return progress

    def save(self, progress: Progress) -> None:
        """Takes a copy of everything now; a thread writes it. A full disk is told, and training goes on."""
        self.writer.wait()  # first, or two copies would be in memory
        if progress.step == self.saved and not self._changed(progress):
            return
        state = {"learner": self.learner.state(), "progress": asdict(progress)}
        self.writer.start(f"checkpoint step={progress.step}", partial(self._write, progress.step, state))

    def _changed(self, progress: Progress) -> bool:
        """Whether figures of the same step were added, such as those measured after it."""
        return bool(progress.measured) and progress.measured[-1]["step"] == progress.step

    def _write(self, step: int, state: Mapping[str, Any]) -> None:
        checkpoint.save(self.folder, step, state, self._about(step, state["progress"]))
        self.saved = step
        kept = checkpoint.found(self.folder)[-checkpoint.KEPT :]
        checkpoint.prune(self.folder, {path.name for path in kept})
        best = {checkpoint.name_of(best) for best in map(_best_step, kept) if best is not None}
        checkpoint.prune(self.folder / checkpoint.BEST, best)

    def keep_best(self, progress: Progress) -> None:
        """The averaged weights of now, in a place of their own; and a checkpoint that knows of them."""
        self.writer.wait()
        weights = self.learner.average_weights()
        about = self._about(progress.step, asdict(progress))
        self.writer.start(
            f"best step={progress.step}",
            lambda: checkpoint.save(
                self.folder / checkpoint.BEST, progress.step, {"weights": weights}, about
            ),
        )

    def take_best(self, progress: Progress) -> int:
        """Puts the best weights into the average; their step, or the last one's where there is no better."""
        self.writer.wait()
        if progress.best is None or progress.best["step"] == progress.step:
            return progress.step
        step = int(progress.best["step"])
        try:
            state = checkpoint.load(self.folder / checkpoint.BEST / checkpoint.name_of(step))
        except checkpoint.DamagedError as error:
            self.log(f"best weights damaged, the last are used instead: {error}")
            return progress.step
        self.learner.average.ema.load_state_dict(state["weights"])
        return step

    def _about(self, step: int, progress: Mapping[str, Any]) -> dict[str, Any]:
        best = progress["best"]
        return {
            "format": FORMAT,
            "algorithm": "yolov5",
            "step": step,
            "total": self.total,
            "best": int(best["step"]) if best else None,
            "marks": dict(self.marks),
            "saved": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }


def _best_step(path: Path) -> int | None:
    try:
        best = checkpoint.read_about(path).get("best")
    except checkpoint.DamagedError:
        return None
    return int(best) if best is not None else None
