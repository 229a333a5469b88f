"""What keeps a build from succeeding, looked for before it starts."""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from facetrain.errors import OperationError
from facetrain.image.build import ARCHITECTURE, require_builder
from facetrain.image.engine import Engine
from facetrain.image.trouble import NOT_EMULATED, ImageError

# What a build needs beside the image itself (layers, pip's cache), by DEVICE.
SPACE_GB = {"gpu": 15, "cpu": 5}


def check_checkout(checkout: Path) -> Path:
    """The folder to build: `checkout`/training. Raises OperationError where that is not whole or writable."""
    context = checkout / "training"
    if not (context / "Dockerfile").is_file():
        raise OperationError(f"{context}/Dockerfile is missing: run build-and-push.sh of a whole checkout")
    if not os.access(checkout, os.W_OK):
        raise OperationError(f"{checkout} cannot be written to, where the result belongs: check who owns it")
    return context


def check_builder(engine: Engine, say: Callable[[str], None]) -> None:
    """Raises ImageError where the engine surely cannot build for SageMaker's machines."""
    builder = require_builder(engine)
    if engine.architecture == ARCHITECTURE:
        return
    try:
        found = engine.run("buildx", "inspect", program=builder)
    except ImageError:  # Docker 20.10 knows no buildx: the build itself will tell
        return
    if not re.search(rf"Platforms:.*\blinux/{ARCHITECTURE}\b", found):
        raise ImageError(f"Docker's engine is {engine.architecture}: {NOT_EMULATED}")
    say(
        f"Docker's engine is {engine.architecture}: the build for {ARCHITECTURE} is emulated and will be slow"
    )


def check_space(engine: Engine, options: Sequence[str], say: Callable[[str], None]) -> None:
    """Warns where the engine's disk is nearly full; silent where that disk is not on this machine."""
    root = engine.run("info", "--format", "{{.DockerRootDir}}").strip()
    try:
        free = shutil.disk_usage(root).free / 1e9
    except OSError:
        return
    device = "cpu" if any(option.endswith("DEVICE=cpu") for option in options) else "gpu"
    if free < SPACE_GB[device]:
        say(
            f"Warning: {free:.1f} GB are free in {root}, and building the {device.upper()} image takes about "
            f"{SPACE_GB[device]} GB: `docker system df` says what could go"
        )
