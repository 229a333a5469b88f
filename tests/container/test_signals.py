"""`docker stop` at any moment: what was learnt is saved, and the job ends in good time."""

import time
from pathlib import Path

import pytest

from tests.container.containers import Containers
from tests.container.jobs import STEPS, faces_at, job, same
from training.jobs import contract
from training.jobs.contract import ContainerPaths

pytestmark = pytest.mark.container

GOOD_TIME = contract.STOP_GRACE_SECONDS / 2


def stop(containers: Containers, name: str) -> tuple[int, float]:
    """The exit status of a container that is told to stop, and the seconds that it took."""
    began = time.monotonic()
    containers.docker("stop", "--time", str(contract.STOP_GRACE_SECONDS), name)
    return containers.wait(name), time.monotonic() - began


def test_a_job_stopped_while_it_trains_saves_and_ends_later_as_if_undisturbed(
    containers: Containers, faces: Path, trained: tuple[ContainerPaths, str], tmp_path: Path
) -> None:
    paths = job(tmp_path / "ml", checkpoint_steps=0)
    name = containers.start("train", options=faces_at(faces), base=paths.base)
    containers.wait_for(name, " step=2/")
    status, seconds = stop(containers, name)
    assert (status, seconds < GOOD_TIME) == (contract.EXIT_STOPPED, True)
    assert "\nstopped after step " in containers.log(name)
    assert len(list(paths.checkpoints.glob("step-*"))) == 1
    assert not paths.failure.exists()
    assert not list(paths.model.iterdir())

    resumed = containers.run("train", options=faces_at(faces), base=paths.base)
    assert resumed.returncode == 0, resumed.stderr
    assert f"/{STEPS}\n" in resumed.stderr[resumed.stderr.index("resumed step=") :]
    assert same(paths, trained[0])


@pytest.mark.parametrize("moment", ["user=", "hardware "], ids=["importing", "reading"])
def test_a_job_stopped_before_it_trains_ends_at_once(
    containers: Containers, faces: Path, tmp_path: Path, moment: str
) -> None:
    name = containers.start("train", options=faces_at(faces), base=job(tmp_path / "ml").base)
    containers.wait_for(name, moment)
    status, seconds = stop(containers, name)
    assert (status, seconds < 10) == (contract.EXIT_STOPPED, True)
    assert "step=" not in containers.log(name)
    assert "Traceback" not in containers.log(name)
    assert not (tmp_path / "ml" / "output" / "failure").exists()
