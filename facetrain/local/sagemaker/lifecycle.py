"""One attempt at one job, from its first byte downloaded to its last byte uploaded."""

import logging
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from facetrain.local.sagemaker import artifacts, channels, execution, folders
from facetrain.local.sagemaker.aws import Clients, Role, error_text
from facetrain.local.sagemaker.checkpoints import Sync
from facetrain.local.sagemaker.control import Control
from facetrain.local.sagemaker.errors import EndpointStopping, JobFailed, JobStopped
from facetrain.local.sagemaker.execution import Grace, Outcome
from facetrain.local.sagemaker.registry import Registry, final_status
from facetrain.local.sagemaker.runner import Job, Runner, local_path
from facetrain.local.sagemaker.states import Record, running_seconds
from facetrain.local.sagemaker.telemetry import Telemetry
from training.jobs.contract import CHECKPOINT_DIR
from training.jobs.uri import S3Uri

log = logging.getLogger(__name__)

FETCHING = "Downloading the training image"
INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."


@dataclass(frozen=True)
class Workshop:
    """What all jobs share. `jobs`: the folder of the jobs' folders."""

    registry: Registry
    runner: Runner
    cloud: Clients
    jobs: Path
    region: str
    grace: Grace


class Lifecycle:
    """Runs a job to its end. `run` raises nothing: every end is a state of the job."""

    def __init__(self, shop: Workshop, record: Record, control: Control) -> None:
        self._shop, self._record, self._control = shop, record, control
        self._name: str = record["TrainingJobName"]
        self._hosts = folders.host_names(record["ResourceConfig"]["InstanceCount"])
        image: str = record["AlgorithmSpecification"]["TrainingImage"]
        self._job = Job(self._name, image, self._hosts, record["EnableNetworkIsolation"])
        self._bases: list[Path] = []

    def run(self) -> None:
        try:
            self._run()
        except EndpointStopping:
            log.info("%s: left for the next start of the endpoint", self._name)
        except JobStopped:
            self._end(final_status(self._control.cause))
        except JobFailed as failure:
            self._end("Failed", str(failure))
        except Exception:
            # Whatever else goes wrong is ours, and must show as the job's end, not as a thread that is gone.
            log.exception("%s: an error of the endpoint", self._name)
            self._end("Failed", INTERNAL_ERROR)
        finally:
            folders.clean(self._shop.jobs, self._name, self._hosts)

    def _end(self, secondary: str, reason: str | None = None) -> None:
        if not self._shop.registry.finished(self._name):
            self._shop.registry.advance(self._name, secondary, reason)

    def _run(self) -> None:
        role = self._role()
        s3 = role.client("s3")
        self._advance("Downloading")
        with ExitStack() as closing:
            closing.callback(self._timer().cancel)
            interface = self._shop.runner.interface(self._job)
            self._bases = folders.prepare(self._shop.jobs, self._record, self._hosts, interface)
            self._download(s3)
            syncs = self._checkpoints(s3)
            self._fetch(role)
            self._advance("Training")
            outcome = self._train(role, syncs)
        if outcome.failure is not None:
            self._keep_output(s3)
            raise JobFailed(outcome.failure)
        self._upload(s3)
        self._end(final_status(outcome.stopped) if outcome.stopped else "Completed")

    def _advance(self, secondary: str, message: str | None = None) -> None:
        self._control.check()
        self._record = self._shop.registry.advance(self._name, secondary, message=message)

    def _role(self) -> Role:
        try:
            return self._shop.cloud.role(self._record["RoleArn"])
        except ClientError as error:
            arn = self._record["RoleArn"]
            raise JobFailed(f"ClientError: Could not assume role {arn} ({error_text(error)})") from error

    def _timer(self) -> threading.Timer:
        """Ends the job when MaxRuntimeInSeconds are used up, over all its attempts."""
        used = running_seconds(self._record, self._shop.registry.clock())
        left = self._record["StoppingCondition"]["MaxRuntimeInSeconds"] - used
        timer = threading.Timer(max(0.0, left), partial(self._control.stop, "runtime"))
        timer.daemon = True
        timer.start()
        return timer

    def _download(self, s3: Any) -> None:
        arn, region = self._record["RoleArn"], self._shop.region

        def missing(uri: str) -> str:
            return channels.no_objects(uri, region, arn)

        channels.download(s3, self._record, self._bases, missing, self._control.check)

    def _checkpoints(self, s3: Any) -> list[Sync]:
        config = self._record.get("CheckpointConfig")
        if config is None:
            return []
        uri, path = S3Uri.parse(config["S3Uri"]), config.get("LocalPath", CHECKPOINT_DIR)
        extra = artifacts.encryption(self._record)
        syncs = [Sync(s3, uri, local_path(base, path), extra) for base in self._bases]
        for sync in syncs:
            sync.download(self._control.check)
        return syncs

    def _fetch(self, role: Role) -> None:
        """Have the image. The service shows this by its message; it gave up DownloadingTrainingImage."""
        announce = partial(self._advance, "Downloading", FETCHING)
        image = self._shop.runner.fetch(self._job.image, role, self._control.check, announce)
        self._job = replace(self._job, image=image)

    def _train(self, role: Role, syncs: list[Sync]) -> Outcome:
        """Run the programs; their log lines, metrics and checkpoints are sent when this returns."""
        definitions = self._record["AlgorithmSpecification"].get("MetricDefinitions", ())
        telemetry = Telemetry(role, self._name, definitions, self._shop.registry.clock)
        aws = execution.aws_variables(self._record, self._shop.cloud, role)
        try:
            with self._shop.runner.together(self._job) as meeting:
                work = execution.tasks(self._record, self._job, self._bases, {**aws, **meeting}, telemetry)
                telemetry.open()
                for sync in syncs:
                    sync.start()
                outcome = execution.run(self._shop.runner, work, self._control, syncs, self._shop.grace)
        except JobFailed as failure:  # a program could not even be started
            outcome = Outcome(failure=str(failure))
        finally:
            self._shop.registry.note(self._name, FinalMetricDataList=telemetry.close())
        if outcome.stopped == "runtime":
            self._shop.registry.stop(self._name)
        return self._closed(syncs, outcome)

    def _closed(self, syncs: list[Sync], outcome: Outcome) -> Outcome:
        """Send the last checkpoints; a program's own failure counts more than theirs."""
        try:
            for sync in syncs:
                sync.close()
        except JobFailed as failure:
            return Outcome(failure=outcome.failure or str(failure))
        if outcome.stopped == "shutdown":
            raise EndpointStopping
        return outcome

    def _upload(self, s3: Any) -> None:
        self._record = self._shop.registry.advance(self._name, "Uploading")
        artifacts.upload_model(s3, self._record, self._bases)
        artifacts.upload_output(s3, self._record, self._bases)
        address = artifacts.model_address(self._record)
        self._shop.registry.note(self._name, ModelArtifacts={"S3ModelArtifacts": address})

    def _keep_output(self, s3: Any) -> None:
        """A failed job leaves no model, but what its program wrote to output/data."""
        try:
            artifacts.upload_output(s3, self._record, self._bases)
        except JobFailed as failure:
            log.warning("%s: its output is lost: %s", self._name, failure)
