"""The whole path on this machine: faces, a cloud, a drop into S3, the job it starts, its model's worth."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from botocore.exceptions import ClientError

from facetrain import dataset, jobs, reports
from facetrain.client import Connection, Deployment, code, discover, is_missing
from facetrain.errors import InputError, OperationError
from facetrain.faces import write_folders
from facetrain.folder import Folder, read_folder
from facetrain.local import cloud
from facetrain.storage import Store
from training.jobs import contract
from training.jobs.algorithms import ALGORITHMS
from training.jobs.uri import S3Uri

DATASET = "demo"
IDENTITIES, PICTURES = 48, 10  # of the drawn faces
FEWEST_IDENTITIES = 4  # two to learn from, and two kept out, so that there are strangers to tell apart
# A small network and few steps: what two processors do in half a minute.
HYPERPARAMETERS = ("network=mbf", "batch_size=16", "scale=32", "margin=0.3", "epochs=4", "max_steps=75")
FOR_DRAWN_FACES = ("lr=0.05", "holdout_fraction=0.2")
FOR_PHOTOGRAPHS = ("lr=0.1", "holdout_fraction=0.25")
REPORTS = Path("reports")  # where `facetrain report` puts them, too
COMPLETED = "Completed"
START_SECONDS = 60  # the longest from the drop to its job; it is about two

Progress = Callable[[str], None]
Watch = Callable[[jobs.LogLine | Mapping[str, Any]], None]


@dataclass
class Outcome:
    """How the demo went. `seconds` is the time of each phase, in order."""

    job_name: str = ""
    status: str = ""
    image: str | None = None  # by its digest; None where the job was a process
    model: str | None = None
    report: str | None = None  # the page, on this machine
    accuracy: float | None = None  # on identities never trained on
    accuracy_before_training: float | None = None
    eer: float | None = None
    tar_at_far_1e_2: float | None = None  # None where there are too few pairs to tell
    failure_reason: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def completed(self) -> bool:
        return self.status == COMPLETED

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Writes down how long its body took."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)


def run(
    faces: Path | None,
    name: str,
    keep: bool,
    progress: Progress,
    watch: Watch,
    *,
    runner: str | None = None,
) -> Outcome:
    """Runs the demo in the cloud `name`; the outcome tells whether the job completed.

    faces: a folder of photographs per person; None: faces are drawn. watch: is given the job's log lines and
    states as they come. runner: what the job runs as, as `local up` takes it. The cloud is left as it was
    found, or running where `keep`; so, too, after Ctrl-C.
    """
    outcome = Outcome()
    with TemporaryDirectory(prefix="facetrain-demo-") as scratch:
        with outcome.phase("faces"):
            directory = faces or drawn_faces(Path(scratch), progress)
            own = FOR_PHOTOGRAPHS if faces else FOR_DRAWN_FACES
            folder = read_folder(directory, HYPERPARAMETERS + own)
            require_enough(folder)
        with deployed(name, keep, outcome, progress, runner) as deployment:
            train(deployment, folder, outcome, progress, watch)
            if outcome.completed:
                outcome.report = str(reports.fetch(deployment, outcome.job_name, REPORTS))
    return outcome


def drawn_faces(scratch: Path, progress: Progress, identities: int = IDENTITIES) -> Path:
    """A folder of faces of people who do not exist."""
    progress(f"Drawing {identities * PICTURES} pictures of {identities} people who do not exist")
    write_folders(scratch / "faces", identities, PICTURES)
    return scratch / "faces"


def require_enough(folder: Folder) -> None:
    """Raises InputError where too few people have two pictures to compare."""
    enough = [person for person, pictures in folder.people("images/").items() if pictures >= 2]
    if len(enough) < FEWEST_IDENTITIES:
        raise InputError.because(
            "--faces",
            f"{len(enough)} folders hold two or more pictures of one person, {FEWEST_IDENTITIES} are needed: "
            "some people are trained on and others kept out, to be told apart by the model afterwards",
        )


@contextmanager
def left_as_found(name: str, keep: bool, progress: Progress) -> Iterator[None]:
    """A cloud that ran before goes on running, one that existed is stopped, a new one leaves nothing."""
    before = cloud.status(name)
    existed = Path(before.home).exists()
    try:
        yield
    finally:
        if not (keep or before.running):
            progress("Taking the cloud down")
            cloud.down(name, delete=not existed)


@contextmanager
def deployed(
    name: str, keep: bool, outcome: Outcome, progress: Progress, runner: str | None
) -> Iterator[Deployment]:
    """What runs in the cloud `name`, which is started, and afterwards left as it was found."""
    with left_as_found(name, keep, progress):
        with outcome.phase("cloud"):
            running = cloud.up(name, progress=progress, runner=runner)
        environment = running.environment()
        yield discover(Connection(environment), environment["FACETRAIN_STAGE"])


def train(
    deployment: Deployment,
    folder: Folder,
    outcome: Outcome,
    progress: Progress,
    watch: Watch,
    *,
    name: str = DATASET,
) -> None:
    """Puts the dataset and its manifest into S3, and follows the job that this starts to its end."""
    store = Store(deployment.s3)
    planned = dataset.plan(folder, name, deployment.platform, store)
    with outcome.phase("upload"):
        progress(f"Putting {len(folder.files)} pictures and their manifest into {planned.location.folder}")
        pushed = dataset.push(planned, deployment.platform, store)
    outcome.job_name = pushed.job_name
    with outcome.phase("start"):
        await_start(deployment, pushed)
    progress(f"The drop started {pushed.job_name}")
    lines, job = [], dict[str, Any]()
    with outcome.phase("training"):
        for event in jobs.follow(deployment, pushed.job_name):
            watch(event)
            if isinstance(event, jobs.LogLine):
                lines.append(event.message)
            else:
                job = event
    conclude(outcome, job, lines)
    outcome.image = image_of(deployment, job)


def image_of(deployment: Deployment, job: Mapping[str, Any]) -> str | None:
    """The image that the job ran, by its digest; None where no registry holds it, for it ran as a process."""
    name, _, tag = job["AlgorithmSpecification"]["TrainingImage"].rpartition(":")
    answer = deployment.connection.client("ecr").batch_get_image(
        repositoryName=name.partition("/")[2], imageIds=[{"imageTag": tag}]
    )
    found = [image["imageId"]["imageDigest"] for image in answer["images"]]
    return f"{name}@{found[0]}" if found else None


def await_start(
    deployment: Deployment, pushed: dataset.Pushed, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Waits for the launcher. Raises OperationError where it refuses the manifest, or never comes."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            jobs.describe(deployment, pushed.job_name)
        except ClientError as error:
            if code(error) not in {"ResourceNotFound", "ValidationException"}:
                raise
        else:
            return
        if errors := _rejection(deployment, S3Uri.parse(pushed.manifest)):
            raise OperationError(f"the launcher refused the manifest: {errors}")
        sleep(0.3)
    raise OperationError(
        f"no job {pushed.job_name} {START_SECONDS} s after the drop: the launcher's log is in the log group "
        f"/aws/lambda/{deployment.function_name}"
    )


def conclude(outcome: Outcome, job: Mapping[str, Any], lines: Iterable[str]) -> None:
    """Fills the outcome from the job's last description and its log."""
    outcome.status = job["TrainingJobStatus"]
    outcome.failure_reason = job.get("FailureReason")
    if outcome.completed:
        outcome.model = job["ModelArtifacts"]["S3ModelArtifacts"]
    lines = list(lines)
    accuracies = _values("validation:accuracy", lines)
    if len(accuracies) > 1:
        outcome.accuracy_before_training, outcome.accuracy = accuracies[0], accuracies[-1]
        outcome.eer = _values("validation:eer", lines)[-1]
        outcome.tar_at_far_1e_2 = next(reversed(_values("validation:tar_at_far_1e-2", lines)), None)


def _values(metric: str, lines: Iterable[str]) -> list[float]:
    """What the job's own metric definition finds in its log, in order."""
    expressions = {metric.name: metric.regex for metric in ALGORITHMS["arcface"].metrics}
    found = (re.search(expressions[metric], line) for line in lines)
    return [float(match[1]) for match in found if match]


def _rejection(deployment: Deployment, manifest: S3Uri) -> str | None:
    place = manifest.folder.join(contract.REJECTION_NAME)
    try:
        answer = deployment.s3.get_object(Bucket=place.bucket, Key=place.key)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    errors = json.load(answer["Body"])["errors"]
    return "; ".join(f"{error['path']}: {error['message']}" for error in errors)
