"""What the endpoint asks of whatever runs a job's programs, as processes or in containers."""

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from facetrain.local.sagemaker.aws import Role
from training.jobs.contract import BASE_DIR


@dataclass(frozen=True)
class Job:
    """What the hosts of a job share. isolated: without any network but the one between them."""

    name: str
    image: str
    hosts: Sequence[str]
    isolated: bool


@dataclass(frozen=True)
class Task:
    """One host's share of a job: `base` is its /opt/ml, `environment` what SageMaker would set.

    mounts: what a container shows, read-only, of this machine: by its path there.
    """

    job: Job
    host: str
    base: Path
    environment: Mapping[str, str]
    log: Callable[[str], None]
    mounts: Mapping[Path, Path] = field(default_factory=dict)


class Running(Protocol):
    """A program that was started."""

    def poll(self) -> int | None:
        """Its exit code once it has ended and its output is read to the end; None before."""

    def trouble(self) -> str | None:
        """Once it has ended: the failure's reason where the program itself is not to blame; else None."""

    def terminate(self) -> None:
        """SIGTERM to the program's first process."""

    def kill(self) -> None:
        """The end of everything the program started."""


class Runner(Protocol):
    def refusal(self, image: str) -> str | None:
        """Why jobs with this image cannot run here; None where they can."""

    def fetch(self, image: str, role: Role, check: Callable[[], None], announce: Callable[[], None]) -> str:
        """Have the image, with the role's permissions; gives the name to run it by.

        announce is called where that takes time, check all the while: it may end it early. Raises JobFailed.
        """

    def interface(self, job: Job) -> str:
        """The network interface by which the job's hosts reach one another."""

    def together(self, job: Job) -> contextlib.AbstractContextManager[Mapping[str, str]]:
        """What the hosts need to meet, for as long as they run: variables for their environment."""

    def start(self, task: Task) -> Running:
        """Start the image's program for one host."""

    def sweep(self) -> None:
        """Remove what programs have left, of jobs of an earlier run of the endpoint too."""


def local_path(base: Path, container_path: str) -> Path:
    """Where a path below /opt/ml lies for a host whose /opt/ml is `base`."""
    return base / Path(container_path).relative_to(BASE_DIR)


def free_port() -> int:
    """A port for MASTER_PORT. Nobody holds it until the program does, as with every such choice."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
