"""A container that is killed, and the one after it."""

from pathlib import Path

import pytest

from tests.container.containers import Containers
from tests.container.jobs import faces_at, job, same
from training.jobs.contract import ContainerPaths

pytestmark = pytest.mark.container


def test_a_job_killed_while_it_trains_ends_later_as_if_undisturbed(
    containers: Containers, faces: Path, trained: tuple[ContainerPaths, str], tmp_path: Path
) -> None:
    paths = job(tmp_path / "ml")
    killed = containers.start("train", options=faces_at(faces), base=paths.base)
    containers.wait_for(killed, "\ncheckpoint step=")
    assert containers.docker("kill", killed).returncode == 0
    assert containers.wait(killed) == 137
    assert not list(paths.model.iterdir())

    resumed = containers.run("train", options=faces_at(faces), base=paths.base)
    assert resumed.returncode == 0, resumed.stderr
    assert "\nresumed step=" in resumed.stderr
    assert same(paths, trained[0])
