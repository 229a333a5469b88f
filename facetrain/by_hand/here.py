"""`--instance-type local`: the job's container on this machine, wired as SageMaker wires it, with no account.

The SDK's own local mode runs this image too, but needs Docker Compose, which an engine does not bring. It
gives the container a network, data that it may write to and, for data in S3, the caller's credentials; it
names no `train`, keeps no checkpoints, and packs another output.tar.gz than the service does.
"""

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facetrain.by_hand.local_order import LocalJob
from facetrain.by_hand.order import push_command
from facetrain.client import Connection
from facetrain.errors import OperationError
from facetrain.image.engine import Engine, ImageError, find_engine
from facetrain.image.registry import logged_in, registry_of
from facetrain.local.sagemaker import artifacts, channels, execution, folders
from facetrain.local.sagemaker.containers import ContainerRunner
from facetrain.local.sagemaker.control import Control
from facetrain.local.sagemaker.errors import JobFailed
from facetrain.local.sagemaker.images import Registry
from facetrain.local.sagemaker.runner import Job, Task
from training.jobs.contract import BASE_DIR, STOP_GRACE_SECONDS, ContainerPaths
from training.jobs.uri import S3Uri

HOST = "algo-1"
Say = Callable[[str], None]


def run(job: LocalJob, connection: Connection, say: Say) -> execution.Outcome:
    """Runs the job to its end, and puts what came out where it belongs. Ctrl-C stops it as the service would.

    Raises OperationError where there is no engine or no such image, or where data cannot be moved.
    """
    engine = find_engine()
    _have(engine, job, connection, say)
    with tempfile.TemporaryDirectory(prefix="facetrain-job-", ignore_cleanup_errors=True) as scratch:
        record = {**job.request, "TrainingJobArn": f"arn:local:{job.name}"}
        (base,) = folders.prepare(Path(scratch), record, [HOST], "lo")
        try:
            _download(job, record, base, connection)
            say(f"The job: Training in a container of {job.image}")
            outcome = _train(engine, job, record, base, say)
            _keep(job, record, base, connection)
        except JobFailed as error:
            raise OperationError(str(error)) from error
    return outcome


def model(job: LocalJob) -> str:
    """Where the model lies afterwards."""
    if isinstance(job.output, S3Uri):
        return artifacts.model_address(job.request)
    return str(job.output / artifacts.output_folder(job.request).key / "model.tar.gz")


def _have(engine: Engine, job: LocalJob, connection: Connection, say: Say) -> None:
    """The image in the engine: there already, or pulled, with a login where it is our registry's."""
    image, push = job.image, push_command(job.request["HyperParameters"]["algorithm"])
    if engine.holds(image):
        return
    say(f"Pulling {image}")
    try:
        if ".dkr.ecr" in image or image.startswith("localhost:"):
            registry = registry_of(connection)
            if image.startswith(f"{registry.address}/"):
                with logged_in(engine, registry) as own:
                    own.run("pull", "--quiet", image)
                    return
        engine.run("pull", "--quiet", image)
    except ImageError as error:
        raise OperationError(
            f"{image} is not in this machine's engine and cannot be pulled ({error}): "
            f"run {push}, or name another with --image"
        ) from None


def _download(job: LocalJob, record: Mapping[str, Any], base: Path, connection: Connection) -> None:
    """The channels that are in S3."""
    remote = [one for one in record["InputDataConfig"] if isinstance(job.channels[one["ChannelName"]], S3Uri)]
    if remote:
        wanted = {**record, "InputDataConfig": remote}
        channels.download(
            connection.client("s3"), wanted, [base], lambda uri: f" there is nothing at {uri}", lambda: None
        )


def _mounts(job: LocalJob, base: Path) -> dict[Path, Path]:
    """The channels that are here: shown where they are, never copied, nor written to.

    What a mount goes over is made first: the engine would make it root's.
    """
    mounts = {}
    for name, place in job.channels.items():
        if isinstance(place, S3Uri):
            continue
        own = ContainerPaths(base).channel(name)
        own.mkdir(parents=True)
        if place.is_file():
            own = own / place.name
            own.touch()
        mounts[Path(BASE_DIR) / own.relative_to(base)] = place
    return mounts


def _train(engine: Engine, job: LocalJob, record: dict[str, Any], base: Path, say: Say) -> execution.Outcome:
    control = Control()
    runner = ContainerRunner(engine, Registry("", "", ""), base)
    whole = Job(job.name, job.image, [HOST], isolated=True)
    grace = execution.Grace(STOP_GRACE_SECONDS, STOP_GRACE_SECONDS)
    with _signals_stop(control, say), runner.together(whole) as given:
        variables = execution.environment(record, given)
        task = Task(whole, HOST, base, variables, lambda line: say(f"  {line}"), _mounts(job, base))
        return execution.run(runner, [task], control, [], grace)


@contextmanager
def _signals_stop(control: Control, say: Say) -> Iterator[None]:
    """Ctrl-C and SIGTERM tell the job to end, as a stop does in the service; they do not tear it down."""

    def stop(number: int, frame: object) -> None:  # noqa: ARG001 (the signature of a handler)
        say(f"Stopping: the program has {STOP_GRACE_SECONDS} s to end")
        control.stop("user")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _keep(job: LocalJob, record: Mapping[str, Any], base: Path, connection: Connection) -> None:
    """The archives that the service would make, in S3 or in the output folder."""
    target = connection.client("s3") if isinstance(job.output, S3Uri) else _Folder(job.output)
    artifacts.upload_model(target, record, [base])
    artifacts.upload_output(target, record, [base])


@dataclass(frozen=True)
class _Folder:
    """A folder that takes uploads as an S3 client does."""

    path: Path

    def upload_file(self, file: str, bucket: str, key: str, **_: object) -> None:  # noqa: ARG002 (as boto3's)
        target = self.path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
