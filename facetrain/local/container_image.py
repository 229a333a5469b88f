"""The image of a cloud whose jobs are containers: built from this checkout where it must be, and pushed."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from facetrain.client import Connection
from facetrain.image.build import build, fingerprint
from facetrain.image.engine import Engine, ImageError, find_engine
from facetrain.image.registry import digest_of, logged_in, push, registry_of
from facetrain.local.clients import aws_environment
from facetrain.local.errors import LocalCloudError
from facetrain.local.services import Servers

Progress = Callable[[str], None]

CONTEXT = "training"  # below the checkout's root
NAME = "facetrain-arcface"  # in the engine; its tag is the fingerprint
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


def ensure_built(engine: Engine, root: Path, tag: str, progress: Progress) -> None:
    """Have the image in the engine. LocalCloudError where it cannot be built."""
    name = f"{NAME}:{tag}"
    if engine.holds(name):
        return
    progress(f"Building the image {name} (minutes, the first time)")
    try:
        build(engine, root / CONTEXT, name, progress=steps(progress))
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
            for name in (f"{repository}:{tag}", f"{repository}@{digest}"):
                if name.startswith(f"localhost:{port}/") and "<none>" not in name:
                    with suppress(ImageError):  # with an image's last tag its digest may have gone
                        engine.run("rmi", name)


def steps(progress: Progress) -> Progress:
    """A reader of Docker's output that passes on the beginning of each step, once."""
    told = set()

    def read(line: str) -> None:
        match = _STEP.match(line)
        if match and match["stage"] not in told:
            told.add(match["stage"])
            progress(f"  {match['stage']} {' '.join(match['what'].split())}"[:_WIDTH])

    return read


def ensure_pushed(engine: Engine, servers: Servers, repository: str, tag: str, progress: Progress) -> None:
    """Have the image in the cloud's registry; nothing is sent where it is there."""
    registry = registry_of(Connection(aws_environment(servers)))
    if digest_of(registry, repository, tag):
        return
    progress(f"Pushing the image to {registry.address}/{repository}:{tag}")
    try:
        with logged_in(engine, registry) as own:
            push(own, registry, f"{NAME}:{tag}", repository, tag)
        engine.run("rmi", f"{registry.address}/{repository}:{tag}")  # its name outside is enough
    except ImageError as problem:
        raise LocalCloudError(str(problem)) from problem
    servers.save()
