"""Jobs as plain processes of this machine: no image, the same folders, the same signals and exit codes."""

import contextlib
import fnmatch
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from facetrain.local.sagemaker import guard
from facetrain.local.sagemaker.aws import Role
from facetrain.local.sagemaker.guarded import Guarded
from facetrain.local.sagemaker.runner import Job, Task, free_port
from training.jobs.contract import BASE_DIR_VARIABLE

# What a process job may know of this machine; the rest of the endpoint's environment is none of its business.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")


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

    def fetch(
        self,
        image: str,
        role: Role,  # noqa: ARG002
        check: Callable[[], None],  # noqa: ARG002
        announce: Callable[[], None],  # noqa: ARG002
    ) -> str:
        """Nothing to do: what stands for the image is on this machine."""
        return image

    def interface(self, job: Job) -> str:  # noqa: ARG002
        return "lo"

    @contextlib.contextmanager
    def together(self, job: Job) -> Iterator[Mapping[str, str]]:  # noqa: ARG002
        """Nobody knows the hosts by their names here, and other jobs use the same ports."""
        yield {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}

    def start(self, task: Task) -> Guarded:
        program = self._program(task.job.image)
        if program is None:
            raise ValueError(self.refusal(task.job.image))
        environment = {
            **self._environment,
            "PYTHONUNBUFFERED": "1",
            BASE_DIR_VARIABLE: str(task.base),
            **task.environment,
        }
        # A container's working directory is the image's; here it is the host's own folder.
        folder = task.base.parent.parent
        return Guarded(Path(guard.__file__), _command(program), folder, environment, task.log)

    def sweep(self) -> None:
        """Nothing to do: a program's guard ends it when the endpoint ends, however that ends."""

    def _program(self, image: str) -> Path | None:
        return next((path for name, path in self._programs.items() if fnmatch.fnmatchcase(image, name)), None)


def _command(program: Path) -> list[str]:
    """`PROGRAM train`; a Python program runs with the endpoint's own Python, whose packages it shares."""
    with program.open("rb") as file:
        first = file.readline(200)
    if program.suffix == ".py" or (first.startswith(b"#!") and b"python" in first):
        return [sys.executable, str(program), "train"]
    return [str(program), "train"]
