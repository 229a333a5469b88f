"""Whole jobs: what they leave, how they are stopped and go on, and how they fail."""

import ast
import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from tests.yolov5.files import HYP, MODEL, write_cfg, write_job
from tests.yolov5.processes import command, failure, train
from training.container import checkpoint
from training.jobs.algorithms import YOLOV5_METRICS
from training.jobs.contract import EXIT_STOPPED, ContainerPaths
from training.yolov5 import weights

pytestmark = pytest.mark.usefixtures("ultralytics")

STEPS = 6  # ten pictures, four a batch, two epochs


def last_state(paths: ContainerPaths) -> dict[str, Any]:
    return checkpoint.load(checkpoint.found(paths.checkpoints)[-1])


def same(one: ContainerPaths, other: ContainerPaths) -> bool:
    """Whether two jobs came to the same weights, averages and losses, bit for bit."""
    mine, theirs = last_state(one), last_state(other)
    equal = all(
        torch.equal(value, theirs["learner"][part][name])
        for part in ("weights", "average")
        for name, value in mine["learner"][part].items()
    )
    return equal and losses(mine) == losses(theirs)


def losses(state: dict[str, Any]) -> list[tuple[float, ...]]:
    curve = state["progress"]["curve"]
    return [(point["box_loss"], point["cls_loss"], point["dfl_loss"]) for point in curve]


def test_a_job_leaves_a_detector_its_figures_and_a_report(trained: tuple[ContainerPaths, str]) -> None:
    paths, log = trained
    assert sorted(path.name for path in paths.model.iterdir()) == [
        "best.onnx",
        "best.pt",
        "config.json",
        "metrics.json",
    ]
    figures = json.loads((paths.model / "metrics.json").read_text())
    assert figures["steps"] == STEPS
    assert {"map50", "map50_95", "precision", "recall", "classes"} <= figures.keys()
    assert len(figures["history"]["measured"]) == 2
    page = (paths.output_data / "report.html").read_text()
    assert "mAP 50" in page
    assert page.count("<svg") == 7
    assert page.count("data:image/jpeg") == 4
    assert not re.search(r'(src|href)="http', page)
    assert list((paths.output_data / "tensorboard").glob("events.out.tfevents.*"))
    assert log.endswith("\n")


def test_every_metric_is_read_from_the_log(trained: tuple[ContainerPaths, str]) -> None:
    for metric in YOLOV5_METRICS:
        assert re.search(metric.regex, trained[1], re.M), metric.name


def test_onnx_takes_other_sizes_and_says_what_it_detects(trained: tuple[ContainerPaths, str]) -> None:
    session = onnxruntime.InferenceSession(trained[0].model / "best.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": torch.zeros(3, 3, 96, 128).numpy()})
    assert found.shape == (3, 6, (12 * 16) + (6 * 8) + (3 * 4))
    said = session.get_modelmeta().custom_metadata_map
    literals = {name: ast.literal_eval(said[name]) for name in ("names", "imgsz", "args", "stride")}
    assert literals == {
        "names": {0: "red", 1: "blue"},
        "imgsz": [64, 64],
        "args": {"dynamic": True},
        "stride": 32,
    }


def test_a_detector_is_trained_on_from_its_own_checkpoint(
    trained: tuple[ContainerPaths, str], tmp_path: Path
) -> None:
    paths = write_job(tmp_path, max_steps=1)
    channel = paths.channel("weights")
    channel.mkdir()
    (channel / "best.pt").write_bytes((trained[0].model / "best.pt").read_bytes())
    assert weights.read(channel / "best.pt").classes == ("red", "blue")
    done = train(paths)
    assert done.returncode == 0, done.stderr
    assert "weights loaded from best.pt tensors=427/427 classes_known=2" in done.stderr
    assert "step=1/1 " in done.stderr


@pytest.mark.parametrize("moment", ["checkpoint step=2", "detection epoch=1"])
def test_a_job_that_is_stopped_goes_on_as_if_undisturbed(
    trained: tuple[ContainerPaths, str], tmp_path: Path, moment: str
) -> None:
    paths = write_job(tmp_path, checkpoint_steps=2)
    program, environment = command(paths)
    with subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(moment):
                process.send_signal(signal.SIGTERM)
        status = process.wait()
    assert status == EXIT_STOPPED
    assert not list(paths.model.iterdir())
    assert not paths.failure.exists()

    done = train(paths)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^resumed step=[1-5]/6$", done.stderr, re.M)
    assert same(paths, trained[0])


def test_a_job_that_is_killed_goes_on_from_its_newest_whole_checkpoint(
    trained: tuple[ContainerPaths, str], tmp_path: Path
) -> None:
    paths = write_job(tmp_path, checkpoint_steps=1)
    program, environment = command(paths)
    with subprocess.Popen(program, env=environment, stderr=subprocess.DEVNULL) as process:
        while len(checkpoint.found(paths.checkpoints)) < 2 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    newest = checkpoint.found(paths.checkpoints)[-1]
    (newest / "state.pt").write_bytes((newest / "state.pt").read_bytes()[:-100])
    done = train(paths)
    assert done.returncode == 0, done.stderr
    assert "checkpoint damaged, trying the one before" in done.stderr
    assert same(paths, trained[0])


def test_batches_are_the_same_whoever_makes_them(trained: tuple[ContainerPaths, str], tmp_path: Path) -> None:
    paths = write_job(tmp_path, workers=2)
    assert train(paths).returncode == 0
    assert same(paths, trained[0])


def test_v62s_own_files_are_trained_without_an_edit(tmp_path: Path) -> None:
    paths = write_job(tmp_path, val=0, model="", image_size=50, max_steps=2, thumbnails=False)
    write_cfg(paths.channel("cfg"), yolov5s=MODEL, hyp=HYP)
    done = train(paths)
    assert done.returncode == 0, done.stderr
    assert "start network=yolov5s " in done.stderr
    assert "not used: anchors: boxes are predicted without anchors\n" in done.stderr
    assert "not used: box, cls, cls_pw, obj, obj_pw, fl_gamma: the loss is another" in done.stderr
    assert "note: image_size=64, for 50 is no multiple of 32\n" in done.stderr
    assert "train pictures=9 objects=" in done.stderr
    assert json.loads((paths.model / "config.json").read_text())["weight_decay"] == 0.0005
    assert "data:image" not in (paths.output_data / "report.html").read_text()


def test_nothing_to_measure_on_is_no_failure(tmp_path: Path) -> None:
    paths = write_job(tmp_path, val=0, val_fraction=0, max_steps=1)
    done = train(paths)
    assert done.returncode == 0, done.stderr
    assert "nothing is measured: val_fraction is 0" in done.stderr
    assert "How good the detector is was not measured" in (paths.output_data / "report.html").read_text()


def test_another_runs_checkpoints_are_refused_and_can_be_put_aside(
    trained: tuple[ContainerPaths, str], tmp_path: Path
) -> None:
    paths = write_job(tmp_path, seed=7, max_steps=1)
    trained[0].checkpoints.rename(paths.checkpoints)
    try:
        assert "checkpoint of another run: seed changed since" in failure(paths)
        done = train(paths, "--resume", "never")
        assert done.returncode == 0, done.stderr
        assert "resume=never: the checkpoints found were moved to" in done.stderr
    finally:
        trained[0].checkpoints.mkdir(exist_ok=True)
        for path in (paths.checkpoints / "set-aside-1").iterdir():
            path.rename(trained[0].checkpoints / path.name)


def test_a_cfg_without_classes_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    paths = write_job(tmp_path)
    (paths.channel("cfg") / "data.yaml").unlink()
    assert failure(paths).startswith("the cfg channel has no dataset YAML: put one there with nc and names")


def test_a_loss_that_is_no_number_fails_with_its_step_and_a_remedy(
    trained: tuple[ContainerPaths, str], tmp_path: Path
) -> None:
    paths = write_job(tmp_path)
    paths.channel("weights").mkdir()
    found = weights.read(trained[0].model / "best.pt").tensors
    far_off = {name: value.float() * (1e30 if value.ndim == 4 else 1) for name, value in found.items()}
    torch.save(far_off, paths.channel("weights") / "x.pt")
    assert re.search(r"_loss is \S+ at step 1 of 6 \(lr 0\): lower lr \(try 0.001\)$", failure(paths))
