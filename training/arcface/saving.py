"""A run's checkpoints: what is in one, when it may be continued, and who writes it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.arcface.distributed import World
from training.arcface.learner import Learner
from training.arcface.loop import Plan, Progress
from training.arcface.settings import Settings
from training.container import checkpoint
from training.container.errors import StoppedError, TrainingError
from training.container.writing import Writer
from training.formats.listing import Listing

FORMAT = 1  # raised when a later trainer could not read what this one writes


def fingerprint(settings: Settings, listing: Listing, aligned: str = "") -> dict[str, str]:
    """What must not change between two parts of one run, each under the name a message would use.

    With another of these the saved state does not fit, or the steps already made were others. Everything else
    may change: lr, epochs, loss, batch_size, precision, the number of devices …

    aligned: the mark of how photos became faces in the job, empty where they did not.
    """
    lines = (f"{file}\t{label}" for file, label in zip(listing.files, listing.labels, strict=True))
    marks = {
        "network": settings.network,
        "seed": str(settings.seed),
        "optimizer": settings.optimizer,
        "images or their identities": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12],
    }
    return {**marks, "how faces are aligned": aligned} if aligned else marks


def prepare(
    folder: Path, marks: Mapping[str, str], world: World, log: Callable[[str], None], *, resume: bool
) -> int | None:
    """Tidies the folder; the global batch of the run found there, or None where there is none to resume.

    The batch is kept, on any number of ranks, or the order of the images and the schedule would change.
    Without `resume` what is there is put aside. Raises TrainingError where it is of another run.
    """
    about: dict[str, Any] | None = None
    if world.rank == 0:
        if not resume and (place := checkpoint.set_aside(folder)):
            log(f"resume=never: the checkpoints found were moved to {place}")
        checkpoint.clean(folder, log)
        about = checkpoint.newest_about(folder)
    about = world.from_first(about)
    if about is None:
        return None
    theirs = about["marks"] if about["format"] == FORMAT else {}
    names = dict.fromkeys((*marks, *theirs))
    changed = [name for name in names if theirs.get(name) != marks.get(name)]
    if about["format"] != FORMAT:
        changed = ["the trainer's version"]
    if changed:
        raise TrainingError(
            f"{folder} holds a checkpoint of another run: {', '.join(changed)} changed since: start under a "
            f"new job name, empty that folder, or begin anew with `train --resume never`"
        )
    return int(about["batch"])


class Saver:
    """Saves and resumes one run. All ranks call each method together; rank 0 reads and writes."""

    def __init__(
        self,
        folder: Path,
        learner: Learner,
        plan: Plan,
        marks: Mapping[str, str],
        log: Callable[[str], None],
    ):
        self.folder, self.learner, self.plan, self.marks, self.log = folder, learner, plan, marks, log
        self.world = learner.world
        self.writer = Writer(log)
        self.kept: list[tuple[str, int | None]] = []  # whole checkpoints, oldest first, and their best step
        self.last: dict[str, Any] | None = None  # the progress that the newest of them holds

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Waits for what is being written: on every rank, for the service ends all when one has ended."""
        self.writer.wait()
        together = kind is StoppedError  # else the other ranks may not come here
        if kind is None or together:
            self.world.barrier()

    # -- Resuming ------------------------------------------------------------------------------------------

    def resume(self) -> Progress:
        """The progress of the newest whole checkpoint, its state loaded; a new one where there is none."""
        progress = self._load()
        if progress is not None:
            self.log(f"resumed step={progress.step}/{self.plan.total}")
            return progress
        set_rng([], self.world, self.learner.settings.seed, 0)
        return Progress()

    def reload(self) -> Progress:
        """Back to the newest checkpoint. Raises TrainingError where there is none."""
        self.writer.wait()
        progress = self._load()
        if progress is None:
            raise TrainingError(f"{self.folder}: no whole checkpoint to go back to: free some space there")
        self.log(f"reloaded step={progress.step}/{self.plan.total}")
        return progress

    def _load(self) -> Progress | None:
        state: dict[str, Any] | None = None
        if self.world.rank == 0 and (newest := checkpoint.newest(self.folder, self.log)):
            path, state = newest
            self._keep_only(path, state["progress"])
        head = state.pop("head") if state else {}
        state = self.world.from_first(state)
        if state is None:
            return None
        self.learner.load_state(state["learner"])
        self.learner.load_rows(self._shards(head))
        if state["batch"] != self.plan.batch:
            raise ValueError(f"the plan's batch is {self.plan.batch}, the checkpoint's {state['batch']}")
        progress = Progress(**state["progress"])
        set_rng(state["rng"], self.world, self.learner.settings.seed, progress.step)
        return progress

    def _keep_only(self, path: Path, progress: dict[str, Any]) -> None:
        """Those before it but one go: SageMaker brings back from S3 what was removed here."""
        self.last, self.kept = progress, [(path.name, _best_step(progress))]
        for old in [found for found in checkpoint.found(self.folder) if found < path][:-1]:
            checkpoint.remove(old)

    def _shards(self, head: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This rank's rows of what rank 0 has read."""
        classes = self.learner.head.classes
        names = self.world.from_first(list(head))
        return {name: self.world.shard_from_first(head.get(name), classes) for name in names}

    # -- Saving --------------------------------------------------------------------------------------------

    def save(self, progress: Progress) -> None:
        """Takes a copy of everything now; a thread writes it.

        A full disk is told, and training goes on without this checkpoint.
        """
        self.writer.wait()  # first, or two copies would be in memory
        head = {name: self.world.to_first(rows) for name, rows in self.learner.rows().items()}
        rng = self.world.gather_objects(rng_state(self.world))
        if self.world.rank != 0 or progress.as_dict() == self.last:
            return
        state = {
            "learner": self.learner.state(),
            "head": {name: torch.cat(shards or []) for name, shards in head.items()},
            "rng": rng,
            "batch": self.plan.batch,
            "progress": progress.as_dict(),
        }
        self.writer.start(f"checkpoint step={progress.step}", partial(self._write, progress.step, state))

    def _write(self, step: int, state: Mapping[str, Any]) -> None:
        path = checkpoint.save(self.folder, step, state, self._about(step, state["progress"]))
        kept = [entry for entry in self.kept if entry[0] != path.name]
        self.last, self.kept = (
            state["progress"],
            [*kept, (path.name, _best_step(state["progress"]))][-checkpoint.KEPT :],
        )
        checkpoint.prune(self.folder, [name for name, _ in self.kept])
        best = {checkpoint.name_of(best) for _, best in self.kept if best is not None}
        checkpoint.prune(self.folder / checkpoint.BEST, best)

    def _about(self, step: int, progress: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "step": step,
            "steps": self.plan.total,
            "epochs": len(progress["epochs"]),
            "loss": progress["epochs"][-1]["loss"] if progress["epochs"] else None,
            "best": progress.get("best"),
            "batch": self.plan.batch,
            "ranks": self.world.size,
            "marks": dict(self.marks),
            "torch": torch.__version__,
        }

    # -- The best ------------------------------------------------------------------------------------------

    def keep_best(self, progress: Progress) -> None:
        """Keeps the weights and centres of now; `load_best` brings them back.

        The ones before stay for as long as a checkpoint that counts with them.
        """
        self.writer.wait()
        centres = self.world.to_first(self.learner.rows()["centres"])
        if self.world.rank != 0:
            return
        state = {"weights": self.learner.evaluated(), "centres": torch.cat(centres or [])}
        about = self._about(progress.step, progress.as_dict())
        best = partial(checkpoint.save, self.folder / checkpoint.BEST, progress.step, state, about)
        self.writer.start(f"best kept step={progress.step}", best)

    def load_best(self, progress: Progress) -> bool:
        """Puts the best verification's weights and centres into the learner, to be written as the model.

        False where none were kept or they are damaged, which is told; then the learner is left as it is.
        """
        self.writer.wait()
        state: dict[str, Any] | None = None
        best = progress.as_dict().get("best")
        if self.world.rank == 0 and best:
            try:
                path = self.folder / checkpoint.BEST / checkpoint.name_of(best["step"])
                state = checkpoint.load(path)
            except checkpoint.DamagedError as error:
                self.log(f"best weights damaged, the last are used instead: {error}")
        centres = state.pop("centres") if state else None
        state = self.world.from_first(state)
        if state is None:
            return False
        self.learner.load_evaluated(state["weights"])
        shard = self.world.shard_from_first(centres, self.learner.head.classes)
        self.learner.load_rows({**self.learner.rows(), "centres": shard})
        return True


def _best_step(progress: Mapping[str, Any]) -> int | None:
    best = progress.get("best")
    return int(best["step"]) if best else None


# -- Random numbers ----------------------------------------------------------------------------------------


def rng_state(world: World) -> dict[str, Tensor]:
    """Of the generators that layers such as dropout draw from, on this rank."""
    state = {"cpu": torch.get_rng_state()}
    if world.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(world.device)
    return state


def set_rng(states: Sequence[Mapping[str, Tensor]], world: World, seed: int, step: int) -> None:
    """Goes on with the states of as many ranks; else begins with what seed, step and rank give."""
    (number,) = np.random.SeedSequence([seed, step, world.rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(number) >> 1)
    if len(states) != world.size:
        return
    mine = states[world.rank]
    torch.set_rng_state(mine["cpu"])
    if world.device.type == "cuda" and "cuda" in mine:
        torch.cuda.set_rng_state(mine["cuda"], world.device)
