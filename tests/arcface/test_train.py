"""The container's command, run as the service runs it: a process, its folders, its exit status."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.arcface.examples import write_job, write_pictures
from training.jobs import contract
from training.jobs.algorithms import ALGORITHMS, ARCFACE_METRICS
from training.jobs.contract import ContainerPaths

TRAIN = Path(__file__).resolve().parents[2] / "training" / "train"
SMALL = {"network": "mbf", "batch_size": 4, "epochs": 1, "log_interval": 1, "lr": 0.01, "compile": "off"}
KNOBS = SMALL | {"algorithm": "arcface", "holdout_fraction": 0.4}


def environment(base: Path) -> dict[str, str]:
    """As little as a container has. One thread, for the processors are shared with other tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {contract.BASE_DIR_VARIABLE: str(base), "OMP_NUM_THREADS": "1"}


def train(base: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TRAIN), *arguments],
        env=environment(base),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def weights_digest(paths: ContainerPaths) -> bytes:
    state = torch.load(paths.model / "backbone.pth", weights_only=True)
    return b"".join(value.numpy().tobytes() for value in state.values())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ContainerPaths, str]:
    """A whole job, five identities with five pictures each, and its log."""
    base = tmp_path_factory.mktemp("job")
    paths = write_job(base, KNOBS)
    write_pictures(paths.channel("images"), 5, 5)
    done = train(base, "train")
    assert done.returncode == 0, done.stderr
    return paths, done.stderr


def test_the_model_folder_holds_what_the_model_is(trained: tuple[ContainerPaths, str]) -> None:
    names = {path.name for path in trained[0].model.iterdir()}
    assert names == {
        *("backbone.pth", "backbone.safetensors", "head.safetensors", "model.onnx"),
        *("classes.csv", "config.json", "lineage.json", "metrics.json", "MODEL_CARD.md"),
    }


def test_the_output_folder_holds_the_report_and_what_tensorboard_shows(
    trained: tuple[ContainerPaths, str],
) -> None:
    output = trained[0].output_data
    assert "of 3 people" in (output / "report.html").read_text()
    assert list((output / "tensorboard").glob("events.out.tfevents.*"))


def test_whose_faces_the_report_may_show_is_written_beside_it(
    trained: tuple[ContainerPaths, str],
) -> None:
    """By it `facetrain forget` finds the report; the identities are those that the model did not learn."""
    table = (trained[0].output_data / "verified.csv").read_text().split()
    classes = (trained[0].model / "classes.csv").read_text()
    assert table[0] == "channel,identity"
    assert len(table) == 3
    assert not [row for row in table[1:] if f",{row.removeprefix('images,')}," in classes]


def test_the_figures_are_of_identities_never_trained_on(trained: tuple[ContainerPaths, str]) -> None:
    paths, _ = trained
    figures = json.loads((paths.model / "metrics.json").read_text())
    classes = (paths.model / "classes.csv").read_text().splitlines()
    assert classes[0] == "class,identity,images"
    assert len(classes) - 1 == figures["identities"] == 3
    assert figures["held_out_identities"] == 2
    assert 0 <= figures["accuracy"] <= 1
    assert 0 <= figures["accuracy_before"] <= 1
    assert [entry["step"] for entry in figures["history"]["verifications"]] == [0, 3]


def test_the_configuration_is_written_whole(trained: tuple[ContainerPaths, str]) -> None:
    config = json.loads((trained[0].model / "config.json").read_text())
    assert config["network"] == "mbf"
    assert config["batch_size"] == 4
    assert ALGORITHMS["arcface"].knobs.keys() <= config.keys()


@pytest.mark.parametrize("metric", ARCFACE_METRICS, ids=lambda metric: metric.name)
def test_the_service_reads_each_metric_from_the_log(trained: tuple[ContainerPaths, str], metric: Any) -> None:
    found = [float(match[1]) for line in trained[1].splitlines() if (match := re.search(metric.regex, line))]
    needs_more_pairs = metric.name.endswith(("1e-2", "1e-3"))  # 25 impostor pairs here
    assert bool(found) != needs_more_pairs


def test_the_log_says_what_is_trained_with_and_names_nobody(trained: tuple[ContainerPaths, str]) -> None:
    log = trained[1]
    assert re.search(r"^start network=mbf device=cpu .*ranks=1 .*batch=4 images=15 identities=3", log, re.M)
    assert ".png" not in log


def test_a_finished_job_started_again_has_nothing_left_to_train(
    trained: tuple[ContainerPaths, str], tmp_path: Path
) -> None:
    paths, _ = trained
    before = weights_digest(paths)
    again = train(paths.base)
    assert again.returncode == 0
    assert "resumed step=3/3" in again.stderr
    assert "epoch=" not in again.stderr.split("resumed", 1)[1]
    assert weights_digest(paths) == before


# -- Stopped -----------------------------------------------------------------------------------------------


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stderr is not None
    while line := process.stderr.readline():
        yield line


def test_sigterm_saves_and_the_resumed_job_ends_like_the_undisturbed_one(
    trained: tuple[ContainerPaths, str], tmp_path: Path
) -> None:
    paths = write_job(tmp_path, KNOBS)
    write_pictures(paths.channel("images"), 5, 5)
    with subprocess.Popen(
        [sys.executable, str(TRAIN), "train"], env=environment(tmp_path), stderr=subprocess.PIPE, text=True
    ) as process:
        for line in lines(process):
            if line.startswith("epoch=1 step=1/"):
                process.send_signal(signal.SIGTERM)
                asked = time.monotonic()
                break
        rest = "".join(lines(process))
    assert process.returncode == contract.EXIT_STOPPED
    assert time.monotonic() - asked < contract.STOP_GRACE_SECONDS / 2
    assert "stopped after step" in rest
    assert not paths.failure.exists()
    assert not (paths.model / "metrics.json").exists()
    resumed = train(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed step=" in resumed.stderr
    assert weights_digest(paths) == weights_digest(trained[0])


# -- Refused -----------------------------------------------------------------------------------------------


def failure(base: Path) -> str:
    """What the failure file says after a run that must fail, without a traceback in its log."""
    done = train(base, "train")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    text = ContainerPaths(base).failure.read_text(encoding="utf-8")
    assert len(text) < contract.FAILURE_REASON_LIMIT
    assert "\n" not in text
    return text


def test_every_wrong_hyperparameter_is_told_at_once(tmp_path: Path) -> None:
    write_job(tmp_path, {"epoch": 3, "batch_size": 0})
    text = failure(tmp_path)
    assert 'hyperparameters.epoch: arcface has no such hyperparameter (did you mean "epochs"?)' in text
    assert "hyperparameters.batch_size: 0 is out of range" in text


def test_an_algorithm_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write_job(tmp_path, {"algorithm": "yolo"})
    assert failure(tmp_path) == 'hyperparameters.algorithm: this image trains arcface and yolov5, not "yolo"'


def test_train_args_that_are_not_json_are_refused(tmp_path: Path) -> None:
    paths = write_job(tmp_path, {})
    paths.channel("cfg").mkdir()
    (paths.channel("cfg") / contract.TRAIN_ARGS_NAME).write_text("{epochs: 3}")
    assert failure(tmp_path).startswith("cfg/train-args.json: is not JSON")


def test_a_job_without_its_images_channel_is_refused(tmp_path: Path) -> None:
    write_job(tmp_path, {})
    assert failure(tmp_path).startswith("channels.images: ")


def test_no_folders_at_all_are_explained_in_one_line(tmp_path: Path) -> None:
    done = train(tmp_path / "gone")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"there is no {tmp_path / 'gone'}, where a training job finds its data")
    assert "docker run -v FOLDER:/opt/ml IMAGE" in line


def test_another_argument_than_train_is_explained(tmp_path: Path) -> None:
    done = train(tmp_path, "serve")
    assert done.returncode == 2
    assert "invalid choice: 'serve' (choose from " in done.stderr
    assert "usage: train" in train(tmp_path, "--help").stdout
