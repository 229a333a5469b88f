"""What needs ultralytics, and says so where it is not installed.

It is AGPL-3.0 and belongs to one image alone, so the project's environment does not have it. The container
stage brings it: `.ci/containers`. By hand: `pip install --no-deps --target DIR ultralytics torchvision`, of
the versions in training/requirements-yolov5.txt, and PYTHONPATH=DIR.
"""

from importlib.util import find_spec

import pytest

from tests.yolov5.files import write_job
from tests.yolov5.processes import train
from training.jobs.contract import ContainerPaths


@pytest.fixture(scope="session")
def ultralytics() -> None:
    if find_spec("ultralytics") is None:
        pytest.skip("ultralytics is not installed: the container stage brings it")


@pytest.fixture(scope="session")
def trained(ultralytics: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[ContainerPaths, str]:
    """A job that nothing disturbed, and its log."""
    paths = write_job(tmp_path_factory.mktemp("trained"))
    done = train(paths)
    assert done.returncode == 0, done.stderr
    return paths, done.stderr
