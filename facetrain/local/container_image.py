"""The images of a cloud whose jobs are containers: built from this checkout where needed, and pushed."""

import re
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from facetrain.client import Connection
from facetrain.image.build import build, fingerprint
from facetrain.image.engine import Engine, ImageError, find_engine
from facetrain.image.registry import digest_of, logged_in, push, registry_of
from facetrain.local import deployment
from facetrain.local.clients import aws_environment
from facetrain.local.errors import LocalCloudError
from facetrain.local.services import Servers
from training.jobs.algorithms import ALGORITHMS
from training.jobs.problems import did_you_mean

Progress = Callable[[str], None]

CONTEXT = "training"  # below the checkout's root
_STEP = re.compile(r"#\d+ \[(?P<stage>[^\]]*\d+/\d+)\] (?P<what>.+)")  # in BuildKit's plain progress
_WIDTH = 100


def engine() -> Engine:
    """The engine that jobs run in. LocalCloudError where there is none."""
    try:
        return find_engine()
    except ImageError as problem:
        raise LocalCloudError(f"{problem}; `--runner process` needs no Docker") from problem


def tag(root: Path) -> str:
    """What names the image that this checkout makes: it changes with the sources and the build options."""
    return fingerprint(root / CONTEXT)


def name(algorithm: str, tag: str) -> str:
    """What the image is called in the engine."""
    return f"facetrain-{algorithm}:{tag}"


def refuse(algorithms: Collection[str], runner: str) -> None:
    """Raises LocalCloudError where one is not known, or has no image to be built."""
    for algorithm in algorithms:
        if algorithm not in ALGORITHMS:
            raise LocalCloudError(f'there is no algorithm "{algorithm}"{did_you_mean(algorithm, ALGORITHMS)}')
        if runner != "docker":
            raise LocalCloudError(
                "--algorithm says whose image to build, and jobs that are processes have none: leave it out, "
                "or name --runner docker"
            )


def ensure_built(engine: Engine, root: Path, algorithm: str, tag: str, progress: Progress) -> None:
    """Have the image in the engine. LocalCloudError where it cannot be built."""
    image = name(algorithm, tag)
    if engine.holds(image):
        return
    progress(f"Building the image {image} (minutes, the first time)")
    try:
        build(engine, root / CONTEXT, image, options=("--target", algorithm), progress=steps(progress))
    except ImageError as problem:
        raise LocalCloudError(str(problem)) from problem


def forget(port: int) -> None:
    """Remove the engine's names for what it pulled from a deleted cloud's registry, or pushed there.

    What has no other name frees its space with them. Where no engine answers they stay.
    """
    with suppress(ImageError):
        engine = find_engine()
        rows = engine.run("images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}")
        for repository, tag, digest in map(str.split, rows.splitlines()):
            for own in (f"{repository}:{tag}", f"{repository}@{digest}"):
                if own.startswith(f"localhost:{port}/") and "<none>" not in own:
                    with suppress(ImageError):  # with an image's last tag its digest may have gone
                        engine.run("rmi", own)


def steps(progress: Progress) -> Progress:
    """A reader of Docker's output that passes on the beginning of each step, once."""
    told = set()

    def read(line: str) -> None:
        match = _STEP.match(line)
        if match and match["stage"] not in told:
            told.add(match["stage"])
            progress(f"  {match['stage']} {' '.join(match['what'].split())}"[:_WIDTH])

    return read


def ensure_pushed(engine: Engine, servers: Servers, algorithm: str, tag: str, progress: Progress) -> None:
    """Have the image in the cloud's registry; nothing is sent where it is there."""
    registry, repository = registry_of(Connection(aws_environment(servers))), deployment.repository(algorithm)
    if digest_of(registry, repository, tag):
        return
    progress(f"Pushing the image to {registry.address}/{repository}:{tag}")
    try:
        with logged_in(engine, registry) as own:
            push(own, registry, name(algorithm, tag), repository, tag)
        engine.run("rmi", f"{registry.address}/{repository}:{tag}")  # its name outside is enough
    except ImageError as problem:
        raise LocalCloudError(str(problem)) from problem
    servers.save()
