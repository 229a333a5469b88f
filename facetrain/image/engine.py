"""The docker programs of this machine, and the engine that answers them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facetrain.image.trouble import ImageError, explain

__all__ = ["Engine", "ImageError", "find_engine"]

PATIENCE = 30  # seconds for an engine to say its version
FIRST_WITHOUT_BUILDKIT = 23  # from this major version on, clients build by the plugin buildx alone


@dataclass(frozen=True)
class Engine:
    """A docker client and the engine that answers it."""

    client: str  # path of the program that runs, pulls, pushes
    builder: str | None  # path of one that can build with BuildKit (maybe another on PATH); None: none can
    architecture: str  # the engine's: "amd64", "arm64", …
    config: Path | None = None  # a DOCKER_CONFIG of its own, where a login is; else the user's

    def run(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002  # as subprocess calls it
        program: str | None = None,  # other than the client
        variables: Mapping[str, str] | None = None,  # for the program's environment
    ) -> str:
        """What `docker ARGUMENTS` writes to stdout. Raises ImageError with its last line, explained."""
        done = subprocess.run(  # noqa: S603  # no shell reads it
            [program or self.client, *arguments],
            input=input,
            capture_output=True,
            text=True,
            errors="replace",
            env={**self.environment(), **(variables or {})},
            check=False,
        )
        if done.returncode:
            raise ImageError(f"docker {arguments[0]}: {explain(done.stderr or done.stdout)}")
        return done.stdout

    def holds(self, image: str) -> bool:
        """Whether the engine has this image, so that nothing need be pulled or built."""
        try:
            self.run("image", "inspect", image)
        except ImageError:
            return False
        return True

    def show(self, *arguments: str) -> None:
        """Run `docker ARGUMENTS` with its progress on our stderr, a bar where that is a terminal."""
        done = subprocess.run(  # noqa: S603  # no shell reads it
            [self.client, *arguments],
            stdout=sys.stderr.fileno(),
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self.environment(),
            check=False,
        )
        if done.returncode:
            raise ImageError(f"docker {arguments[0]}: {explain(done.stderr)}")

    @staticmethod
    def users_configuration() -> Path:
        """The folder of the user's own settings for Docker, where contexts and logins are."""
        named = os.environ.get("DOCKER_CONFIG")
        return Path(named) if named else Path.home() / ".docker"

    def environment(self) -> dict[str, str]:
        """What the programs are started with. DOCKER_HOST and contexts are the client's own affair."""
        if self.config is None:
            return dict(os.environ)
        # An engine over TLS is reached with certificates that lie beside the user's settings.
        certificates = os.environ.get("DOCKER_CERT_PATH") or str(self.users_configuration())
        over_tls = {"DOCKER_CERT_PATH": certificates} if "DOCKER_TLS_VERIFY" in os.environ else {}
        return {**os.environ, "DOCKER_CONFIG": str(self.config), **over_tls}


def find_engine() -> Engine:
    """The first docker on PATH that an engine answers, and the first that can build.

    Raises ImageError where there is no docker, nobody answers, or this user may not ask.
    """
    programs = list(_programs())
    if not programs:
        raise ImageError(
            "no `docker` on PATH: install Docker (https://docs.docker.com/engine/install) and start it"
        )
    problem = ""
    for program in programs:
        versions, said = _versions(program)
        server = versions.get("Server") or {}
        if architecture := server.get("Arch"):
            _refuse_windows(server)
            return Engine(program, next(filter(_can_build, programs), None), architecture)
        reason = explain(said) if said else "it knows no server: is it Podman? Docker's own engine is needed"
        problem = problem or f"Docker's engine does not answer `{program}`: {reason}"
    raise ImageError(problem)


def _programs() -> Iterator[str]:
    """Every `docker` on PATH, in its order, each file once."""
    seen = set()
    for folder in os.get_exec_path():
        path = Path(folder) / "docker"
        if path.is_file() and os.access(path, os.X_OK) and path.resolve() not in seen:
            seen.add(path.resolve())
            yield str(path)


def _versions(program: str) -> tuple[Mapping[str, Any], str]:
    """What `docker version` says of client and server (empty where it fails), and its words on stderr."""
    try:
        done = _ask(program, "version", "--format", "{{json .}}")
    except OSError as error:
        return {}, f"{program}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return {}, f"no answer within {PATIENCE} s: restart Docker"
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return {}, done.stderr or done.stdout or "it said nothing"
    return (found if isinstance(found, dict) else {}), done.stderr


def _refuse_windows(server: Mapping[str, Any]) -> None:
    if server.get("Os", "linux") != "linux":
        raise ImageError(
            f"Docker's engine runs {server['Os']} containers: switch Docker Desktop to Linux containers"
        )


def _can_build(program: str) -> bool:
    """Whether `program build` uses BuildKit: of itself up to version 20.10, later by the plugin buildx."""
    client = _versions(program)[0].get("Client") or {}
    major = re.match(r"\d+", str(client.get("Version", "")))
    if major is None:
        return False
    if int(major[0]) < FIRST_WITHOUT_BUILDKIT:
        return True
    return _ask(program, "buildx", "version").returncode == 0


def _ask(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # a list of our own, no shell reads it
        [program, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE,
        check=False,
    )
