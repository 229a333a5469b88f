"""A job's programs: started on every host, watched, and ended together."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facetrain.local.sagemaker import folders
from facetrain.local.sagemaker.aws import Clients, Role
from facetrain.local.sagemaker.checkpoints import Sync
from facetrain.local.sagemaker.control import Cause, Control
from facetrain.local.sagemaker.runner import Job, Runner, Running, Task
from facetrain.local.sagemaker.states import FAILURE_REASON_LIMIT, Record
from facetrain.local.sagemaker.telemetry import Telemetry
from training.jobs.contract import ContainerPaths

POLL_SECONDS = 0.05
KILL_SECONDS = 10.0  # how long the end by SIGKILL may take before we look no more


@dataclass(frozen=True)
class Outcome:
    """How the programs ended: well (neither is set), in failure, or because the job was told to end."""

    failure: str | None = None
    stopped: Cause | None = None


@dataclass(frozen=True)
class Grace:
    """Seconds between SIGTERM and SIGKILL: when a job is stopped, and when the endpoint itself ends."""

    stop: float
    shutdown: float

    def after(self, cause: Cause | None) -> float:
        return self.shutdown if cause == "shutdown" else self.stop


def tasks(
    record: Record, job: Job, bases: Sequence[Path], given: Mapping[str, str], telemetry: Telemetry
) -> list[Task]:
    """What each host runs. given: variables for AWS clients in the job, and for the hosts to meet."""
    shared = environment(record, given)
    return [
        Task(
            job=job,
            host=host,
            base=base,
            environment=shared,
            log=telemetry.host(host, base.parent.parent / folders.LOG_NAME).write,
        )
        for host, base in zip(job.hosts, bases, strict=True)
    ]


def environment(record: Record, given: Mapping[str, str]) -> dict[str, str]:
    """What hosts on one machine need, then the request's variables, then SageMaker's own."""
    hosts = record["ResourceConfig"]["InstanceCount"]
    # Each of several hosts would believe that it has all the cores to itself.
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // hosts))} if hosts > 1 else {}
    return {
        **threads,
        **given,
        **record.get("Environment", {}),
        "TRAINING_JOB_NAME": record["TrainingJobName"],
        "TRAINING_JOB_ARN": record["TrainingJobArn"],
    }


def aws_variables(record: Record, cloud: Clients, role: Role) -> dict[str, str]:
    """The role's session for a job that has a network; nothing for one that is cut off from it."""
    return {} if record["EnableNetworkIsolation"] else {**cloud.variables(), **role.variables()}


def run(
    runner: Runner, work: Sequence[Task], control: Control, syncs: Sequence[Sync], grace: Grace
) -> Outcome:
    """Run every host's program until all end well, one fails, or the job is told to end. None is left."""
    running: list[Running] = []
    try:
        for task in work:
            running.append(runner.start(task))  # one by one: if the next fails, this one must still be ended
        return _watch(running, work, control, syncs, grace)
    finally:
        for program in running:
            program.kill()
        _wait(running, time.monotonic() + KILL_SECONDS)


def _watch(
    running: Sequence[Running], work: Sequence[Task], control: Control, syncs: Sequence[Sync], grace: Grace
) -> Outcome:
    while True:
        codes = [program.poll() for program in running]
        for task, program, code in zip(work, running, codes, strict=True):
            if code:
                return Outcome(failure=program.trouble() or algorithm_error(task.base, code))
        if all(code == 0 for code in codes):
            return Outcome()
        for sync in syncs:
            if sync.failure is not None:
                return Outcome(failure=sync.failure)
        if control.wait(POLL_SECONDS):
            _stop(running, control, grace)
            return Outcome(stopped=control.cause)


def _stop(running: Sequence[Running], control: Control, grace: Grace) -> None:
    """SIGTERM, then as long as the programs are given. Our own end may come meanwhile and shorten that."""
    begin = time.monotonic()
    for program in running:
        program.terminate()
    while any(program.poll() is None for program in running):
        if time.monotonic() > begin + grace.after(control.cause):
            return
        time.sleep(POLL_SECONDS)


def _wait(running: Sequence[Running], until: float) -> None:
    while any(program.poll() is None for program in running) and time.monotonic() < until:
        time.sleep(POLL_SECONDS)


def algorithm_error(base: Path, code: int) -> str:
    """AlgorithmError: the beginning of /opt/ml/output/failure, exit code: N."""
    start, end = "AlgorithmError: ", f", exit code: {code}"
    path = ContainerPaths(base).failure
    written = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    return start + written[: FAILURE_REASON_LIMIT - len(start) - len(end)] + end
