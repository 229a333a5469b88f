"""The cloud on this machine, started once for the whole run and stopped at its end.

Tests on the cloud stop each other's jobs and take permissions away: however many workers pytest-xdist has,
one of them runs all those files, one after another, while the others run the rest.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

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


class _OneWorkerForTheCloud(LoadFileScheduling):  # type: ignore[misc]  # it publishes no types
    """A file's tests stay together, and so do all files that say `pytest.mark.cloud`, and all on the stacks.

    The CDK takes seconds to start, and then has every stage synthesized once for whoever comes next.
    xdist's own marker for this, xdist_group, is read too late in pytest 9: every test came without its group.
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        if _on_the_cloud(self.config.rootpath / file):
            return "the cloud"
        return "the stacks" if file.startswith("tests/infra/") else file


def _on_the_cloud(file: Path) -> bool:
    return "pytest.mark.cloud" in file.read_text(encoding="utf-8")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cloud's tests come first: their worker has the longest way, and mostly waits."""
    cloud = {file: _on_the_cloud(file) for file in {item.path for item in items}}
    items.sort(key=lambda item: not cloud[item.path])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    config.option.loadscopereorder = False  # in the order above, not by the number of tests
    return _OneWorkerForTheCloud(config, log)
