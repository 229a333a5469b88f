"""One attempt at one job, from its first byte downloaded to its last byte uploaded."""

import logging
import os
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from facetrain.local.sagemaker import artifacts, channels, folders
from facetrain.local.sagemaker.aws import Clients, Role, error_text
from facetrain.local.sagemaker.checkpoints import Sync
from facetrain.local.sagemaker.control import Control
from facetrain.local.sagemaker.errors import EndpointStopping, JobFailed, JobStopped
from facetrain.local.sagemaker.registry import Registry, final_status
from facetrain.local.sagemaker.runner import Runner, Running, Task, local_path
from facetrain.local.sagemaker.states import FAILURE_REASON_LIMIT, Record, running_seconds
from facetrain.local.sagemaker.telemetry import Telemetry
from training.jobs.contract import CHECKPOINT_DIR, STOP_GRACE_SECONDS, ContainerPaths
from training.jobs.uri import S3Uri

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
KILL_SECONDS = 10.0  # how long SIGKILL may take before we stop waiting
INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."


@dataclass(frozen=True)
class Workshop:
    """What all jobs share."""

    registry: Registry
    runner: Runner
    cloud: Clients
    jobs: Path
    region: str
    stop_grace: float = STOP_GRACE_SECONDS
    shutdown_grace: float = 10.0


class Lifecycle:
    """Runs a job to its end. `run` raises nothing: every end is a state of the job."""

    def __init__(self, shop: Workshop, record: Record, control: Control) -> None:
        self._shop, self._record, self._control = shop, record, control
        self._name: str = record["TrainingJobName"]
        self._hosts = folders.host_names(record["ResourceConfig"]["InstanceCount"])
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
        self._advance("Downloading")
        with ExitStack() as closing:
            closing.callback(self._timer().cancel)
            self._bases = folders.prepare(self._shop.jobs, self._record, self._hosts)
            s3 = role.client("s3")
            self._download(s3)
            syncs = self._checkpoints(s3)
            self._advance("Training")
            failure = self._train(role, syncs)
        self._upload(s3, failure)

    def _advance(self, secondary: str) -> None:
        self._control.check()
        self._record = self._shop.registry.advance(self._name, secondary)

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

        wanted = self._record.get("InputDataConfig", ())
        channels.download(s3, wanted, self._bases, missing, self._control.check)

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

    def _train(self, role: Role, syncs: list[Sync]) -> str | None:
        """Run the program on every host, with checkpoints in S3 at its end; the reason where it failed."""
        telemetry = Telemetry(
            role,
            self._name,
            self._record["AlgorithmSpecification"].get("MetricDefinitions", ()),
            self._shop.registry.clock,
        )
        running: list[Running] = []
        try:
            running += [self._shop.runner.start(task) for task in self._tasks(role, telemetry)]
            telemetry.open()
            for sync in syncs:
                sync.start()
            failure = self._watch(running, syncs)
        finally:
            for program in running:
                program.kill()
            for program in running:
                _ended(program, KILL_SECONDS)
            final = telemetry.close()
            self._shop.registry.note(self._name, FinalMetricDataList=final)
        for sync in syncs:
            sync.close()
        if self._control.cause == "shutdown":
            raise EndpointStopping
        return failure

    def _tasks(self, role: Role, telemetry: Telemetry) -> list[Task]:
        port = _free_port()
        return [
            Task(
                image=self._record["AlgorithmSpecification"]["TrainingImage"],
                host=host,
                base=base,
                environment=self._environment(role, port),
                log=telemetry.host(host, base.parent.parent / folders.LOG_NAME).write,
            )
            for host, base in zip(self._hosts, self._bases, strict=True)
        ]

    def _environment(self, role: Role, port: int) -> dict[str, str]:
        """What SageMaker sets, and no credentials for a job that is cut off from the network."""
        isolated = self._record["EnableNetworkIsolation"]
        aws = {} if isolated else {**self._shop.cloud.variables(), **role.variables()}
        threads = {}
        if len(self._hosts) > 1:
            # Every host would believe that it has all the cores to itself.
            threads["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // len(self._hosts)))
        return {
            **aws,
            **threads,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            **self._record.get("Environment", {}),
            "TRAINING_JOB_NAME": self._name,
            "TRAINING_JOB_ARN": self._record["TrainingJobArn"],
        }

    def _watch(self, running: list[Running], syncs: list[Sync]) -> str | None:
        """Wait for the programs' ends; the first failure ends them all."""
        while True:
            codes = [program.poll() for program in running]
            for base, code in zip(self._bases, codes, strict=True):
                if code:
                    return None if self._control.cause else _algorithm_error(base, code)
            if all(code == 0 for code in codes):
                return None
            for sync in syncs:
                if sync.failure is not None:
                    return sync.failure
            if self._control.wait(POLL_SECONDS):
                self._stop(running)
                return None

    def _stop(self, running: list[Running]) -> None:
        """SIGTERM, and as long as the service gives to react to it."""
        shutdown = self._control.cause == "shutdown"
        if self._control.cause == "runtime":
            self._shop.registry.stop(self._name)
        for program in running:
            program.terminate()
        until = time.monotonic() + (self._shop.shutdown_grace if shutdown else self._shop.stop_grace)
        for program in running:
            _ended(program, until - time.monotonic())

    def _upload(self, s3: Any, failure: str | None) -> None:
        """The outputs, then the job's end. A failed job leaves output/data, but no model."""
        if failure is None:
            self._record = self._shop.registry.advance(self._name, "Uploading")
            artifacts.upload_model(s3, self._record, self._bases)
        artifacts.upload_output(s3, self._record, self._bases)
        if failure is not None:
            raise JobFailed(failure)
        address = artifacts.model_address(self._record)
        self._shop.registry.note(self._name, ModelArtifacts={"S3ModelArtifacts": address})
        stopped = self._control.cause is not None
        self._end(final_status(self._control.cause) if stopped else "Completed")


def _ended(program: Running, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while program.poll() is None:
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _algorithm_error(base: Path, code: int) -> str:
    """AlgorithmError: the beginning of /opt/ml/output/failure, exit code: N."""
    end = f", exit code: {code}"
    start = "AlgorithmError: "
    path = ContainerPaths(base).failure
    written = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    return start + written[: FAILURE_REASON_LIMIT - len(start) - len(end)] + end


def _free_port() -> int:
    """A port for MASTER_PORT. Nobody holds it until the program does, as with every such choice."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
