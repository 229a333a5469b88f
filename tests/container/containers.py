"""Containers, networks and /opt/ml folders for tests in a real engine; what a test starts goes with it."""

import json
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECONDS = 300  # more than any of these containers takes


class Containers:
    """What one test starts in the engine. `client` is the docker program."""

    def __init__(self, client: str, image: str) -> None:
        self.client, self.image = client, image
        self._made: list[tuple[str, str]] = []  # "container" or "network", and its name

    def docker(self, *arguments: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """Any docker command; its end is the caller's to judge."""
        return subprocess.run(
            [self.client, *arguments], capture_output=True, text=True, timeout=seconds, check=False
        )

    def run(
        self, *arguments: str, options: tuple[str, ...] = (), base: Path | None = None, image: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """`docker run OPTIONS IMAGE ARGUMENTS` to its end; base: a folder to be /opt/ml."""
        return self.docker(
            "run", "--name", self._named("container"), *self._what(options, base, image, arguments)
        )

    def start(
        self, *arguments: str, options: tuple[str, ...] = (), base: Path | None = None, image: str = ""
    ) -> str:
        """The same in the background; gives the container's name."""
        name = self._named("container")
        done = self.docker("run", "--detach", "--name", name, *self._what(options, base, image, arguments))
        assert done.returncode == 0, done.stderr
        return name

    def network(self, *options: str) -> str:
        """A new network's name: `start(options=("--network", name, "--network-alias", "algo-1"))`."""
        name = self._named("network")
        done = self.docker("network", "create", *options, name)
        assert done.returncode == 0, done.stderr
        return name

    def log(self, name: str) -> str:
        """Both streams of a container, so far."""
        done = self.docker("logs", name)
        return done.stdout + done.stderr

    def wait_for(self, name: str, text: str, times: int = 1, seconds: float = SECONDS) -> str:
        """The log, once it holds `text` so often; fails where the container ends first or time runs out."""
        deadline = time.monotonic() + seconds
        while True:
            running = self.running(name)
            log = self.log(name)
            if log.count(text) >= times:
                return log
            assert running, f"{name} ended before it said {text!r}:\n{log}"
            assert time.monotonic() < deadline, f"{name} did not say {text!r} in {seconds:.0f} s:\n{log}"
            time.sleep(0.2)

    def wait(self, name: str, seconds: float = SECONDS) -> int:
        """A container's exit status, once it has ended."""
        return int(self.docker("wait", name, seconds=seconds).stdout)

    def running(self, name: str) -> bool:
        return self.docker("inspect", "--format", "{{.State.Running}}", name).stdout.strip() == "true"

    def remove(self) -> None:
        """Everything that was made here, containers before the networks that they are on."""
        for kind, name in sorted(self._made):
            force = ("--force", "--volumes") if kind == "container" else ()
            self.docker(kind, "rm", *force, name)
        self._made.clear()

    def _named(self, kind: str) -> str:
        name = f"facetrain-test-{uuid.uuid4().hex[:12]}"
        self._made.append((kind, name))
        return name

    def _what(
        self, options: tuple[str, ...], base: Path | None, image: str, arguments: tuple[str, ...]
    ) -> list[str]:
        mount = ("--volume", f"{base}:/opt/ml") if base else ()
        return [*mount, *options, image or self.image, *arguments]


def lay_out(base: Path, files: Mapping[str, Any]) -> Path:
    """A folder to be /opt/ml: each path below it, and its text, its bytes, or what JSON says.

    >>> lay_out(tmp_path, {"input/config/hyperparameters.json": {"epochs": "1"}, "model/": None})
    """
    for name, content in files.items():
        path = base / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return base
