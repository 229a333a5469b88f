"""Where a job's program runs. Today as a plain process; a container runner needs only the same interface."""

import fnmatch
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from facetrain.local.sagemaker import guard
from training.jobs.contract import BASE_DIR, BASE_DIR_VARIABLE

# What a process job may know of this machine; the rest of the endpoint's environment is none of its business.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
READ_SECONDS = 5  # for the rest of an ended program's output; only a lost process could keep it open longer
LINE_LIMIT = 256 * 1024 - 26  # CloudWatch Logs' limit for one event, in bytes


@dataclass(frozen=True)
class Task:
    """One host's share of a job: `base` is its /opt/ml, `environment` what SageMaker would set."""

    image: str
    host: str
    base: Path
    environment: Mapping[str, str]
    log: Callable[[str], None]


class Running(Protocol):
    """A program that was started."""

    def poll(self) -> int | None:
        """Its exit code once it has ended and its output is read to the end; None before."""

    def terminate(self) -> None:
        """SIGTERM to the program's first process."""

    def kill(self) -> None:
        """The end of everything the program started."""


class Runner(Protocol):
    def refusal(self, image: str) -> str | None:
        """Why jobs with this image cannot run here; None where they can."""

    def start(self, task: Task) -> Running:
        """Start the image's program for one host."""


class ProcessRunner:
    """Runs `PROGRAM train` for images that stand for a program. `programs`: image (may hold *) → program."""

    def __init__(self, programs: Mapping[str, Path], environment: Mapping[str, str]) -> None:
        self._programs = dict(programs)
        self._environment = {name: environment[name] for name in PASSED_ON if name in environment}

    def refusal(self, image: str) -> str | None:
        if self._program(image) is not None:
            return None
        known = ", ".join(self._programs) or "none"
        return f"jobs run as processes here, and only these images stand for a program: {known}"

    def start(self, task: Task) -> "RunningProcess":
        program = self._program(task.image)
        if program is None:
            raise ValueError(self.refusal(task.image))
        environment = {
            **self._environment,
            "PYTHONUNBUFFERED": "1",
            BASE_DIR_VARIABLE: str(task.base),
            **task.environment,
        }
        return RunningProcess(_command(program), environment, task)

    def _program(self, image: str) -> Path | None:
        return next((path for name, path in self._programs.items() if fnmatch.fnmatchcase(image, name)), None)


def _command(program: Path) -> list[str]:
    """`PROGRAM train`; a Python program runs with the endpoint's own Python, whose packages it shares."""
    with program.open("rb") as file:
        first = file.readline(200)
    if program.suffix == ".py" or (first.startswith(b"#!") and b"python" in first):
        return [sys.executable, str(program), "train"]
    return [str(program), "train"]


class RunningProcess:
    """A program under its guard, and the thread that reads its output."""

    def __init__(self, command: list[str], environment: Mapping[str, str], task: Task) -> None:
        guarded = [sys.executable, "-I", "-S", guard.__file__, *command]
        work = (
            task.base.parent.parent
        )  # the container's working directory is the image's; here the host's own
        try:
            self._guard = subprocess.Popen(  # noqa: S603 - the endpoint's own configuration names the program
                guarded,
                cwd=work,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the endpoint's terminal is for the endpoint alone
            )
        except OSError as error:
            raise OSError(error.errno, f"cannot start {shlex.join(guarded)}: {error.strerror}") from error
        self._reader = threading.Thread(target=self._read, args=(task.log,), daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        code = self._guard.poll()
        if code is None:
            return None
        self._reader.join(timeout=READ_SECONDS)
        if self._guard.stdin:
            self._guard.stdin.close()
        return code

    def terminate(self) -> None:
        self._tell(b"term\n")

    def kill(self) -> None:
        if self._guard.stdin and not self._guard.stdin.closed:
            self._guard.stdin.close()

    def _tell(self, command: bytes) -> None:
        stdin = self._guard.stdin
        if stdin is None or stdin.closed:
            return
        try:
            stdin.write(command)
            stdin.flush()
        except BrokenPipeError:
            os.waitid(os.P_PID, self._guard.pid, os.WEXITED | os.WNOWAIT)  # it ended by itself meanwhile

    def _read(self, log: Callable[[str], None]) -> None:
        assert self._guard.stdout is not None
        with self._guard.stdout as stdout:
            while line := stdout.readline(LINE_LIMIT):
                log(line.decode("utf-8", "replace").rstrip("\r\n"))


def local_path(base: Path, container_path: str) -> Path:
    """Where a path below /opt/ml lies for a host whose /opt/ml is `base`."""
    return base / Path(container_path).relative_to(BASE_DIR)
