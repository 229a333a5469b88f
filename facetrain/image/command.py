"""`./build-and-push.sh`: from the sources in training/ to an image by its digest, in one go."""

import os
from collections.abc import Callable
from pathlib import Path

from facetrain.client import Connection
from facetrain.image import SBOM_FILE, URI_FILE
from facetrain.image.arguments import Wanted, check_options
from facetrain.image.build import build
from facetrain.image.checks import check_builder, check_checkout, check_space
from facetrain.image.context import OPTIONS_VARIABLE, build_options, fingerprint
from facetrain.image.engine import Engine, find_engine
from facetrain.image.registry import (
    Pushed,
    Registry,
    digest_of,
    ensure_repository,
    logged_in,
    push,
    registry_of,
)
from facetrain.image.trouble import ImageError

SBOM_IN_IMAGE = "/opt/facetrain/sbom.cdx.json"
_ANEW = ("--no-cache", "--pull")  # who asks for these wants today's packages, not what was pushed before

Say = Callable[[str], None]


def build_and_push(wanted: Wanted, checkout: Path, connection: Connection, say: Say) -> Pushed:
    """Build `checkout`/training, push it, and leave its immutable URI in `checkout`/ecr_image_fullname.txt.

    What can go wrong is looked for before the build. Raises InputError, OperationError and boto3's errors.
    """
    options = [*build_options(), *wanted.options]
    check_options(OPTIONS_VARIABLE, options)
    context = check_checkout(checkout)
    engine = find_engine()
    check_builder(engine, say)
    registry = registry_of(connection)
    if ensure_repository(registry, wanted.name):
        say(f"Created the repository {wanted.name} in {registry.address}")
    tag = fingerprint(context, wanted.options)
    with logged_in(engine, registry) as own:
        anew = any(option.partition("=")[0] in _ANEW for option in options)
        pushed = None if anew else _fetch(own, registry, wanted.name, tag, say)
        if pushed is None:
            check_space(engine, options, say)
            say(f"Building {wanted.name}:{tag}")
            built = build(engine, context, f"{wanted.name}:{tag}", options=wanted.options, progress=say)
            if anew:
                tag = f"{tag}-{built.id.removeprefix('sha256:')[:12]}"
            say(f"Built {built.bytes / 1e9:.2f} GB; pushing it to {registry.address}/{wanted.name}:{tag}")
            pushed = push(own, registry, built.tag, wanted.name, tag, show=True)
        _save_sbom(own, pushed.uri, checkout / SBOM_FILE, say)
    _write(checkout / URI_FILE, f"{pushed.uri}\n")
    return pushed


def _fetch(engine: Engine, registry: Registry, repository: str, tag: str, say: Say) -> Pushed | None:
    """The image of this content that was pushed before, so that the same content keeps the same digest."""
    digest = digest_of(registry, repository, tag)
    if digest is None:
        return None
    found = Pushed(f"{registry.address}/{repository}@{digest}", digest)
    say(f"{repository}:{tag} is in the registry already: nothing is built (--no-cache or --pull builds anew)")
    engine.show("pull", found.uri)  # where this machine has it, that is seen at once
    return found


def _save_sbom(engine: Engine, image: str, file: Path, say: Say) -> None:
    """Copy the list of what is in the image. Where there is none, none of another stays."""
    aside = _aside(file)
    try:
        container = engine.run("create", "--platform", "linux/amd64", image).strip()
        try:
            engine.run("cp", f"{container}:{SBOM_IN_IMAGE}", str(aside))
        finally:
            engine.run("rm", container)
        aside.replace(file)
    except ImageError as error:  # the image itself is pushed: that counts
        file.unlink(missing_ok=True)
        say(f"Warning: no {file.name}: {error}")
    finally:
        aside.unlink(missing_ok=True)


def _write(file: Path, text: str) -> None:
    """The whole text or, whatever happens, what was there before."""
    aside = _aside(file)
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def _aside(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}")
