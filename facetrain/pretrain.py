"""What weights to start from are worth: the same photographs, trained on from scratch and from weights.

Three jobs in one cloud. The first learns from drawn faces alone; the second from the photographs, as the demo
does; the third, too, but from the first one's model.tar.gz. Both keep the same people out and verify on them.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from facetrain import demo, reports
from facetrain.client import Deployment
from facetrain.demo import Outcome, Progress, Watch
from facetrain.folder import File, Folder, read_folder
from training.jobs.uri import S3Uri

IDENTITIES = 64  # of the drawn faces
NEAREST = 0.8  # share of a drawn picture's width that is left at least
MODEL = "model.tar.gz"
FOR_PRETRAINING = ("lr=0.1", "margin=0.2", "epochs=5", "max_steps=200", "holdout_fraction=0")
FOR_FINE_TUNING = ("lr=0.04", "holdout_fraction=0.25", f"pretrained={MODEL}")


@dataclass
class Comparison:
    """How the three jobs went; those that did not come about are as an Outcome begins."""

    pretraining: Outcome = field(default_factory=Outcome)
    from_scratch: Outcome = field(default_factory=Outcome)
    fine_tuned: Outcome = field(default_factory=Outcome)

    @property
    def jobs(self) -> tuple[Outcome, ...]:
        return self.pretraining, self.from_scratch, self.fine_tuned

    @property
    def completed(self) -> bool:
        return all(job.completed for job in self.jobs)


def run(
    faces: Path, name: str, keep: bool, progress: Progress, watch: Watch, *, runner: str | None = None
) -> Comparison:
    """Runs the three jobs in the cloud `name`, until one does not complete.

    faces: a folder of photographs per person. watch, runner, and what is left of the cloud: as for the demo.
    """
    compared = Comparison()
    first, second, third = compared.jobs
    with TemporaryDirectory(prefix="facetrain-demo-") as scratch:
        with first.phase("faces"):
            own = read_folder(faces, demo.HYPERPARAMETERS + demo.FOR_PHOTOGRAPHS)
            demo.require_enough(own)
            drawn = hardened(demo.drawn_faces(Path(scratch), progress, IDENTITIES))
        with demo.deployed(name, keep, first, progress, runner) as deployment:

            def completes(folder: Folder, outcome: Outcome, dataset: str) -> bool:
                demo.train(deployment, folder, outcome, progress, watch, name=dataset)
                return outcome.completed

            drawn_ones = read_folder(drawn, demo.HYPERPARAMETERS + FOR_PRETRAINING)
            if completes(drawn_ones, first, "demo-drawn") and completes(own, second, "demo-scratch"):
                tuned = read_folder(faces, demo.HYPERPARAMETERS + FOR_FINE_TUNING)
                weights = fetch(deployment, first, Path(scratch))
                if completes(with_weights(tuned, weights), third, "demo-fine-tuned"):
                    for job in (second, third):
                        job.report = str(reports.fetch(deployment, job.job_name, demo.REPORTS))
    return compared


def hardened(directory: Path) -> Path:
    """Turns the pictures grey and cuts each differently: colours and places tell drawn people apart alone."""
    for number, path in enumerate(sorted(directory.rglob("*.jpg"))):
        picture = Image.open(path).convert("L")
        width = picture.width
        side, left, top = np.random.default_rng(number).random(3)
        side = width * (NEAREST + (1 - NEAREST) * side)
        left, top = left * (width - side), top * (width - side)
        box = (left, top, left + side, top + side)
        picture.resize((width, width), Image.Resampling.BILINEAR, box=box).save(path, quality=95)
    return directory


def fetch(deployment: Deployment, outcome: Outcome, folder: Path) -> Path:
    """The completed job's model, on this machine: a job may read datasets, and no other job's outputs."""
    place = S3Uri.parse(str(outcome.model))
    deployment.s3.download_file(place.bucket, place.key, str(folder / MODEL))
    return folder / MODEL


def with_weights(folder: Folder, model: Path) -> Folder:
    """The dataset with a weights channel that holds the model."""
    document = json.loads(folder.document)
    document["channels"]["weights"] = "weights/"
    own = File(model, f"weights/{model.name}", model.stat().st_size)
    files = [file for file in folder.files if not file.key.startswith("weights/")]
    return replace(folder, files=(*files, own), document=json.dumps(document, indent=2).encode())
