"""A run's checkpoints: what is in one, when it may be continued, and who writes it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.arcface import checkpoint
from training.arcface.data.listing import Listing
from training.arcface.errors import TrainingError
from training.arcface.learner import Learner
from training.arcface.loop import Plan, Progress
from training.arcface.settings import Settings


@dataclass(frozen=True)
class Saver:
    """Saves and resumes one run. All ranks call each method together; rank 0 reads and writes."""

    folder: Path
    learner: Learner
    marks: Mapping[str, str]  # what `fingerprint` gives
    log: Callable[[str], None]

    def resume(self, plan: Plan) -> Progress:
        """The progress of the newest whole checkpoint, its state loaded; a new one where there is none."""
        world = self.learner.world
        state: dict[str, Any] | None = None
        if world.rank == 0:
            state = checkpoint.newest(self.folder, self.log)
        state = world.from_first(state)
        if state is None:
            return Progress()
        if changed := [name for name, value in self.marks.items() if state["marks"].get(name) != value]:
            raise TrainingError(
                f"{self.folder} holds a checkpoint of another run: {', '.join(changed)} changed since: "
                f"start under a new job name, or empty that folder"
            )
        head = self.learner.head
        self.learner.load_state(state)
        self.learner.load_rows({name: rows[head.first : head.last] for name, rows in state["head"].items()})
        progress = Progress(**state["progress"])
        self.log(f"resumed step={progress.step}/{plan.total}")
        return progress

    def save(self, progress: Progress) -> None:
        """A full disk is told, and training goes on without this checkpoint."""
        world, classes = self.learner.world, self.learner.head.classes
        head = {name: world.whole(rows, classes).cpu() for name, rows in self.learner.rows().items()}
        state = self.learner.state() | {
            "head": head,
            "progress": progress.as_dict(),
            "marks": dict(self.marks),
        }
        if self.learner.world.rank != 0:
            return
        try:
            checkpoint.save(self.folder, progress.step, state)
            self.log(f"checkpoint step={progress.step}")
        except OSError as error:
            self.log(f"checkpoint failed step={progress.step}: {error}: free some space or raise volume_gb")


def fingerprint(settings: Settings, plan: Plan, listing: Listing) -> dict[str, str]:
    """What must not change between two parts of one run, each under the name a message would use."""
    return {
        "network": settings.network,
        "seed": str(settings.seed),
        "batch size": str(plan.batch),
        "images or their identities": hashlib.sha256(
            "\n".join(
                f"{file}\t{label}" for file, label in zip(listing.files, listing.labels, strict=True)
            ).encode()
        ).hexdigest()[:12],
    }
