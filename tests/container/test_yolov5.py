"""The image that trains detectors: alone, stopped and resumed, and what is in it and in no other."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.container.containers import Containers
from tests.yolov5.files import HYP, MODEL, write_cfg, write_job
from training.jobs.contract import EXIT_STOPPED, STOP_GRACE_SECONDS

if TYPE_CHECKING:
    from facetrain.image.engine import Engine

pytestmark = pytest.mark.container

NAMED = "FACETRAIN_TEST_YOLOV5_IMAGE"
ALONE = ("--network", "none", "--read-only", "--tmpfs", "/tmp:exec", "--shm-size", "1m")
PACKAGES = "import json, sys; print([one['name'] for one in json.load(open(sys.argv[1]))['components']])"
BILL = "/opt/facetrain/sbom.cdx.json"


@pytest.fixture
def detectors(engine: "Engine") -> Iterator[Containers]:
    """Starts containers of YOLOv5's image, and removes them after the test."""
    if not (image := os.environ.get(NAMED)):
        pytest.skip(f"{NAMED} names no image: `docker build training --target yolov5` makes one")
    mine = Containers(engine.client, image)
    yield mine
    mine.remove()


def test_v62s_files_are_trained_alone_and_with_hardly_any_shared_memory(
    detectors: Containers, tmp_path: Path
) -> None:
    paths = write_job(tmp_path / "ml", model="", epochs=1, workers=2)
    write_cfg(paths.channel("cfg"), yolov5s=MODEL.replace("0.50", "0.25"), hyp=HYP)
    done = detectors.run("train", options=ALONE, base=paths.base)
    assert done.returncode == 0, done.stderr
    assert "not used: anchors" in done.stderr
    assert sorted(path.name for path in paths.model.iterdir()) == [
        "best.onnx",
        "best.pt",
        "config.json",
        "metrics.json",
    ]
    assert (paths.output_data / "report.html").is_file()


def test_a_job_that_is_stopped_goes_on_to_the_same_figures(detectors: Containers, tmp_path: Path) -> None:
    whole, stopped = (write_job(tmp_path / name, epochs=3) for name in ("whole", "stopped"))
    assert detectors.run("train", base=whole.base).returncode == 0
    name = detectors.start("train", base=stopped.base)
    detectors.wait_for(name, " step=4/")
    detectors.docker("stop", "--time", str(STOP_GRACE_SECONDS), name)
    assert detectors.wait(name) == EXIT_STOPPED
    assert not list(stopped.model.iterdir())
    resumed = detectors.run("train", base=stopped.base)
    assert resumed.returncode == 0, resumed.stderr
    assert "\nresumed step=" in resumed.stderr
    figures = [json.loads((paths.model / "metrics.json").read_text()) for paths in (whole, stopped)]
    assert figures[0]["history"]["measured"] == figures[1]["history"]["measured"]


def test_another_algorithm_is_refused(detectors: Containers, tmp_path: Path) -> None:
    paths = write_job(tmp_path / "ml", algorithm="arcface")
    assert detectors.run("train", base=paths.base).returncode == 1
    reason = 'hyperparameters.algorithm: this image trains yolov5, not "arcface"'
    assert paths.failure.read_text() == reason


def test_what_is_under_agpl_is_in_this_image_alone(detectors: Containers, containers: Containers) -> None:
    listed = [
        one.run("-c", PACKAGES, BILL, options=("--entrypoint", "python3")).stdout
        for one in (detectors, containers)
    ]
    assert ["'ultralytics'" in bill for bill in listed] == [True, False]
    assert all("'torch'" in bill for bill in listed)
