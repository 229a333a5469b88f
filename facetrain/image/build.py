"""Builds an image for SageMaker's machines: linux/amd64, by BuildKit, without attestations."""

import json
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facetrain.image.context import build_options, fingerprint, revision
from facetrain.image.engine import Engine
from facetrain.image.trouble import ImageError, explain

__all__ = ["Built", "build", "fingerprint"]

ARCHITECTURE = "amd64"
_KEPT_LINES = 200  # of a build's output, to find the cause of a failure in
# An index of attestations beside the image is what some consumers of ECR trip over.
_ENVIRONMENT = {
    "DOCKER_BUILDKIT": "1",
    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
    "BUILDKIT_PROGRESS": "plain",  # what it writes is read line by line
}


@dataclass(frozen=True)
class Built:
    """An image that the engine holds."""

    tag: str
    id: str  # sha256:…
    architecture: str
    bytes: int  # as the engine counts, unpacked


def build(
    engine: Engine,
    context: Path,
    tag: str,
    *,
    options: Sequence[str] = (),
    progress: Callable[[str], None],
) -> Built:
    """Build `context` as `tag`, with the options of FACETRAIN_BUILD_OPTIONS and then `options`.

    progress is told every line that Docker writes. Raises ImageError.
    """
    settled = ["--platform", f"linux/{ARCHITECTURE}", "--tag", tag]
    if commit := revision(context):
        settled += ["--build-arg", f"REVISION={commit}"]
    command = [require_builder(engine), "build", *settled, *build_options(), *options, str(context)]
    _follow(command, engine.environment() | _ENVIRONMENT, progress)
    built = inspect(engine, tag)
    if built.architecture != ARCHITECTURE:
        raise ImageError(
            f"{tag} was built for {built.architecture} and SageMaker's machines are {ARCHITECTURE}: "
            f"leave --platform out, and let BASE name an image for linux/{ARCHITECTURE}"
        )
    return built


def require_builder(engine: Engine) -> str:
    """The path of a docker program that can build. Raises ImageError where there is none."""
    if engine.builder is None:
        raise ImageError(
            f"{engine.client} cannot build with BuildKit: install its plugin buildx "
            "(package docker-buildx-plugin or docker-buildx)"
        )
    return engine.builder


def inspect(engine: Engine, image: str) -> Built:
    """What the engine holds as `image`. Raises ImageError where it holds none."""
    found = json.loads(engine.run("image", "inspect", image))[0]
    return Built(image, found["Id"], found["Architecture"], found["Size"])


def _follow(command: Sequence[str], environment: Mapping[str, str], progress: Callable[[str], None]) -> None:
    """Run a build, line by line."""
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    with subprocess.Popen(  # noqa: S603  # a list of our own, no shell reads it
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=dict(environment),
    ) as process:
        try:
            for line in process.stdout or ():
                last.append(line)
                progress(line.rstrip("\n"))
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise ImageError(f"the image could not be built: {explain(''.join(last))}")
