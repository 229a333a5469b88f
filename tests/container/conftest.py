"""Tests in a real Docker engine: they run where FACETRAIN_CONTAINERS=1 says so, as CI's container stage does.

FACETRAIN_TEST_IMAGE names an image that is there already; without it the CPU image is built, with
FACETRAIN_BUILD_OPTIONS.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.container.containers import Containers

if TYPE_CHECKING:
    from facetrain.image.engine import Engine
    from training.jobs.contract import ContainerPaths

HERE = Path(__file__).parent
SWITCH = "FACETRAIN_CONTAINERS"
NAMED = "FACETRAIN_TEST_IMAGE"
IMAGE = "facetrain-arcface:cpu"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get(SWITCH) == "1":
        return
    skip = pytest.mark.skip(reason=f"needs a Docker engine and minutes: {SWITCH}=1 runs it")
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def engine() -> "Engine":
    """The engine that answers, or the run fails: who asked for these tests wants to know that none does."""
    from facetrain.image.engine import find_engine  # noqa: PLC0415  (most runs skip these tests)

    return find_engine()


@pytest.fixture(scope="session")
def image(engine: "Engine") -> str:
    """The CPU image's name."""
    if named := os.environ.get(NAMED):
        return named
    from facetrain.image.build import build  # noqa: PLC0415

    build(engine, HERE.parents[1] / "training", IMAGE, progress=print)
    return IMAGE


@pytest.fixture
def containers(engine: "Engine", image: str) -> Iterator[Containers]:
    """Starts containers and networks, and removes them after the test."""
    mine = Containers(engine.client, image)
    yield mine
    mine.remove()


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of faces for each of eight people."""
    from tests.container.jobs import draw  # noqa: PLC0415

    return draw(tmp_path_factory.mktemp("faces") / "images")


@pytest.fixture(scope="session")
def trained(
    engine: "Engine", image: str, faces: Path, tmp_path_factory: pytest.TempPathFactory
) -> "tuple[ContainerPaths, str]":
    """A job that nothing disturbed, and its log."""
    from tests.container.jobs import faces_at, job  # noqa: PLC0415

    paths, mine = job(tmp_path_factory.mktemp("trained") / "ml"), Containers(engine.client, image)
    done = mine.run("train", options=faces_at(faces), base=paths.base)
    mine.remove()
    assert done.returncode == 0, done.stderr
    return paths, done.stderr
