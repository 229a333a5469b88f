"""The cloud on this machine, started once for the whole run and stopped at its end."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from facetrain.local import cloud as local_cloud
from facetrain.local.cloud import Cloud


def _clouds_folder(config: pytest.Config) -> Path:
    """One FACETRAIN_HOME for every worker of pytest-xdist, whose own folders lie below the controller's."""
    factory: pytest.TempPathFactory = config._tmp_path_factory  # type: ignore[attr-defined]  # no public name
    base = factory.getbasetemp()
    return (base.parent if hasattr(config, "workerinput") else base) / "clouds"


@pytest.fixture(scope="session")
def facetrain_home(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A state folder for the run's clouds, which commands that tests start find by the environment."""
    folder = _clouds_folder(request.config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACETRAIN_HOME", str(folder))
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        yield folder


@pytest.fixture(scope="session")
def cloud(facetrain_home: Path) -> Cloud:
    """A running cloud with the stacks deployed; `up` itself lets the first of several workers do the work."""
    return local_cloud.up(progress=print)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The controller runs this after its last worker: every cloud of the run goes, whichever test left it."""
    if hasattr(session.config, "workerinput"):
        return
    folder = _clouds_folder(session.config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACETRAIN_HOME", str(folder))
        for lock in folder.glob("*.lock"):
            local_cloud.down(lock.stem, delete=True)
