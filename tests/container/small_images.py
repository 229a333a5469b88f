"""Images for tests in which training is not the point, and the registry that they are pushed to."""

import os
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

from facetrain.client import Connection
from facetrain.image.build import build
from facetrain.image.engine import Engine, ImageError
from facetrain.image.registry import ensure_repository, logged_in, push, registry_of
from facetrain.local.clients import aws_environment
from tests.local.sagemaker.conftest import Place

# A Python and nothing else, out of the big image: it is pushed in a second.
DOCKERFILE = """
ARG FROM
FROM ${FROM} AS all
COPY gather.py /
RUN python3 /gather.py /small
FROM scratch
COPY --from=all /small /
COPY program.py /program.py
ENV SAGEMAKER_BASE_DIR=/opt/ml PATH=/bin
ENTRYPOINT ["python3", "/program.py"]
"""
GATHER = r"""
import os, pathlib, re, shutil, subprocess, sys, sysconfig
target = pathlib.Path(sys.argv[1])
python = pathlib.Path(sys.executable).resolve()
library = pathlib.Path(sysconfig.get_path("stdlib"))
ignored = shutil.ignore_patterns("test", "site-packages", "dist-packages", "config-*", "__pycache__")
shutil.copytree(library, f"{target}{library}", symlinks=True, ignore=ignored)
programs = [python, *library.glob("lib-dynload/*.so")]
said = subprocess.run(["ldd", *programs], stdout=subprocess.PIPE, text=True).stdout
for path in {str(python), *re.findall(r"(/\S+) \(0x", said)}:
    place = pathlib.Path(f"{target}{path}")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, place)
(target / "bin").mkdir(exist_ok=True)
(target / "bin/python3").symlink_to(python)
(target / "tmp").mkdir()
"""


def build_small(engine: Engine, image: str, program: Path, context: Path) -> str:
    """An image that runs the program with the big image's Python. context: an empty folder to build in."""
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "program.py").write_text(program.read_text())
    (context / "gather.py").write_text(GATHER)
    name = f"{context.parent.name}-program".lower()
    build(engine, context, name, options=["--build-arg", f"FROM={image}"], progress=print)
    return name


def build_foreign(engine: Engine, context: Path) -> str:
    """An image whose only program is for another processor: its beginning is all that a kernel looks at."""
    beginning = struct.pack("<4s5B7x2HI", b"\x7fELF", 2, 1, 1, 0, 0, 2, 183, 1)  # 183: aarch64
    (context / "train").write_bytes(beginning + bytes(100))
    (context / "train").chmod(0o755)
    (context / "Dockerfile").write_text('FROM scratch\nCOPY train /train\nENTRYPOINT ["/train"]\n')
    name = f"{context.parent.name}-foreign".lower()
    command = [str(engine.builder), "build", "--platform", "linux/arm64", "--tag", name, str(context)]
    subprocess.run(command, env={**os.environ, "DOCKER_BUILDKIT": "1"}, check=True)
    return name


class Registry:
    """What tests put into a place's image registry."""

    def __init__(self, engine: Engine, place: Place) -> None:
        self.engine = engine
        self.registry = registry_of(Connection(aws_environment(place.servers)))

    def push(self, local: str, repository: str, tag: str) -> str:
        """The image's digest."""
        ensure_repository(self.registry, repository)
        with logged_in(self.engine, self.registry) as engine:
            pushed = push(engine, self.registry, local, repository, tag)
        with suppress(ImageError):  # it was there already
            self.engine.run("rmi", f"{self.registry.address}/{repository}:{tag}")
        return pushed.digest
