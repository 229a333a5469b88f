"""Jobs as containers of the image that they name, wired as SageMaker wires them.

A container outlives the endpoint, so each has three that would remove it: the end of its job, its guard where
the endpoint dies, and a sweep by label whenever the endpoint or the cloud starts or ends.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from facetrain.image.engine import Engine, ImageError
from facetrain.local.sagemaker import container_guard, images
from facetrain.local.sagemaker.aws import Role
from facetrain.local.sagemaker.errors import JobFailed
from facetrain.local.sagemaker.guarded import Guarded
from facetrain.local.sagemaker.images import Registry
from facetrain.local.sagemaker.runner import Job, Task, free_port
from training.jobs.contract import BASE_DIR

log = logging.getLogger(__name__)

CLOUD_LABEL, JOB_LABEL = "facetrain.cloud", "facetrain.job"
AUTHORITY = "/etc/facetrain-authority.pem"  # in a container: whom to trust at the cloud's endpoints
AUTHORITY_VARIABLE = "AWS_CA_BUNDLE"
OUT_OF_MEMORY = (
    "ClientError: Out of memory: the container was killed. Please use an instance type with more memory, or "
    "reduce the size of training data processed on an instance."
)
WRONG_PROCESSOR = "exec format error"  # as every runtime words it
REMOVE_SECONDS = 10.0
MEMORY_SHARE = 0.9  # of the engine's, for all hosts of a job


class ContainerRunner:
    """Runs `docker run IMAGE train`. cloud: what names the cloud on its containers, its state folder."""

    def __init__(self, engine: Engine, registry: Registry, cloud: Path) -> None:
        self._engine, self._registry, self._cloud = engine, registry, cloud

    def refusal(self, image: str) -> str | None:  # noqa: ARG002
        return None

    def fetch(self, image: str, role: Role, check: Callable[[], None], announce: Callable[[], None]) -> str:
        announce()
        return images.fetch(self._engine, self._registry, image, role, check)

    def interface(self, job: Job) -> str:
        return "eth0" if self._has_network(job) else "lo"

    @contextlib.contextmanager
    def together(self, job: Job) -> Iterator[Mapping[str, str]]:
        """A network of the job's own, gone afterwards with all that was on it."""
        try:
            if self._has_network(job):
                _or_failed(
                    self._engine, "network", "create", "--internal", *self._labels(job), self._network(job)
                )
            # On the machine's own network other jobs use the same ports.
            yield {} if job.isolated else {"MASTER_PORT": str(free_port())}
        finally:
            try:
                remove(self._engine, f"{JOB_LABEL}={job.name}", f"{CLOUD_LABEL}={self._cloud}")
            except ImageError as error:  # what stays is swept when the endpoint ends or starts
                log.warning("%s: not removed: %s", job.name, error)

    def start(self, task: Task) -> "RunningContainer":
        facts, name = _facts(self._engine), f"{self._network(task.job)}-{task.host}"
        options = [
            *("--name", name, "--hostname", task.host, *self._labels(task.job)),
            *self._wiring(task),
            *_user(facts),
            *_resources(facts, task.job),
            *("--mount", _mount(task.base, BASE_DIR)),
            *_mounts(task),
            *_authority(task),
        ]
        variables = {**task.environment}
        if AUTHORITY_VARIABLE in variables:
            variables[AUTHORITY_VARIABLE] = AUTHORITY
        secret = {name: value for name, value in variables.items() if name.startswith("AWS_")}
        for key, value in variables.items():  # the command line of a process is for everyone to read
            options += ["--env", key if key in secret else f"{key}={value}"]
        # A log driver would keep the output once more; pulled already, and never from elsewhere.
        fixed = ("--log-driver", "none", "--pull", "never")
        _or_failed(self._engine, "create", *fixed, *options, task.job.image, "train", variables=secret)
        return RunningContainer(self._engine, name, task)

    def sweep(self) -> None:
        sweep(self._engine, self._cloud)

    def _has_network(self, job: Job) -> bool:
        return job.isolated and len(job.hosts) > 1

    def _wiring(self, task: Task) -> list[str]:
        """Isolated hosts see one another and nothing else; the others see what this machine sees."""
        if self._has_network(task.job):
            return ["--network", self._network(task.job), "--network-alias", task.host]
        names = [option for host in task.job.hosts for option in ("--add-host", f"{host}:127.0.0.1")]
        return ["--network", "none" if task.job.isolated else "host", *names]

    def _network(self, job: Job) -> str:
        """A name that no other cloud's job has; its hosts' containers are named after it."""
        return f"facetrain-{hashlib.sha256(str(self._cloud).encode()).hexdigest()[:8]}-{job.name}"

    def _labels(self, job: Job) -> list[str]:
        return ["--label", f"{CLOUD_LABEL}={self._cloud}", "--label", f"{JOB_LABEL}={job.name}"]


class RunningContainer(Guarded):
    """A container that was created, started by its guard."""

    def __init__(self, engine: Engine, name: str, task: Task) -> None:
        self._engine, self._name, self._task = engine, name, task
        self._first: list[str] = []  # two lines of output: a runtime that cannot start it says only one
        guard = Path(container_guard.__file__)
        super().__init__(guard, [engine.client, name], task.base, engine.environment(), self._log)

    def trouble(self) -> str | None:
        """What the engine says of the end: no memory, no such program, another kind of processor."""
        try:
            state = json.loads(self._engine.run("inspect", "--format", "{{json .State}}", self._name))
        except ImageError as error:
            return f"InternalServerError: {error}"
        if state["Running"]:
            return "InternalServerError: the connection to the container was lost"
        if state["OOMKilled"]:
            return OUT_OF_MEMORY
        said = self._first[0].lower() if len(self._first) == 1 else state["Error"]
        if WRONG_PROCESSOR in said:
            return self._wrong_processor()
        image = self._task.job.image
        return f"ClientError: {image} cannot start: {state['Error']}" if state["Error"] else None

    def _wrong_processor(self) -> str:
        image, here = self._task.job.image, self._engine.architecture
        try:
            built = self._engine.run("image", "inspect", "--format", "{{.Architecture}}", image).strip()
        except ImageError as error:
            return f"InternalServerError: {error}"
        return (
            f"ClientError: Image {image} (linux/{built}) holds programs for another processor than this "
            f"machine's, linux/{here}: build it with --platform linux/{here}"
        )

    def _log(self, line: str) -> None:
        self._first = [*self._first, line][:2]
        self._task.log(line)


def sweep(engine: Engine, cloud: Path) -> None:
    """Remove every container and network of a cloud. cloud: the endpoint's state folder."""
    remove(engine, f"{CLOUD_LABEL}={cloud}")


def remove(engine: Engine, *labels: str) -> None:
    """Remove the containers and networks that carry all these labels. Raises ImageError where one stays.

    The engine refuses what a guard is having removed at the same time, so it is asked again for a while.
    """
    until = time.monotonic() + REMOVE_SECONDS
    while True:
        try:
            _remove(engine, labels)
        except ImageError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def _remove(engine: Engine, labels: Sequence[str]) -> None:
    filters = [option for label in labels for option in ("--filter", f"label={label}")]
    if found := engine.run("ps", "--all", "--quiet", "--no-trunc", *filters).split():
        engine.run("rm", "--force", "--volumes", *found)
    if found := engine.run("network", "ls", "--quiet", "--no-trunc", *filters).split():
        engine.run("network", "rm", *found)


def _or_failed(engine: Engine, *arguments: str, variables: Mapping[str, str] | None = None) -> None:
    """Run docker for a job; JobFailed with what it says."""
    try:
        engine.run(*arguments, variables=variables)
    except ImageError as error:
        raise JobFailed(f"ClientError: {error}") from error


def _facts(engine: Engine) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(engine.run("info", "--format", "{{json .}}"))
    except ImageError as error:
        raise JobFailed(f"InternalServerError: {error}") from error
    return facts


def _user(facts: Mapping[str, Any]) -> Sequence[str]:
    """Whose the files in /opt/ml will be: root's, as in the service, unless we could not read them then.

    In an engine without root the container's root is this user already.
    """
    rootless = any("name=rootless" in option for option in facts.get("SecurityOptions") or ())
    if os.getuid() == 0 or rootless:
        return ()
    return ("--user", f"{os.getuid()}:{os.getgid()}")


def _resources(facts: Mapping[str, Any], job: Job) -> Sequence[str]:
    """Memory so that a job that wants more than there is ends, and not what else runs on this machine.

    Shared memory is what any Linux has, half of it all, where Docker's 64 MB end torch's loaders. GPUs go to
    jobs of one host: NCCL refuses two ranks on one GPU, so several hosts use the processors.
    """
    most = int(facts["MemTotal"] * MEMORY_SHARE) // len(job.hosts)
    memory = ("--memory", str(most), "--shm-size", str(facts["MemTotal"] // 2))
    if "nvidia" in (facts.get("Runtimes") or {}) and len(job.hosts) == 1:
        return (*memory, "--gpus", "all")
    return (*memory, "--env", "CUDA_VISIBLE_DEVICES=")  # says that it is meant: the image refuses an idle GPU


def _authority(task: Task) -> Sequence[str]:
    """The cloud's certificate for AWS clients in the container, in a copy that any user there may read."""
    source = task.environment.get(AUTHORITY_VARIABLE)
    if source is None:
        return ()
    copy = task.base.parent / Path(AUTHORITY).name
    shutil.copyfile(source, copy)
    copy.chmod(0o644)
    return ("--mount", _mount(copy, AUTHORITY, "readonly"))


def _mounts(task: Task) -> Iterator[str]:
    for target, source in task.mounts.items():
        yield from ("--mount", _mount(source, str(target), "readonly"))


def _mount(source: Path, target: str, *more: str) -> str:
    """Docker reads these as a line of CSV."""
    doubled = str(source).replace('"', '""')
    return ",".join(["type=bind", f'"source={doubled}"', f"target={target}", *more])
