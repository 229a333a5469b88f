"""The comparison of two ways to train: what its three jobs are given, and what is told of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facetrain import demo, pretrain, reports
from facetrain.cli.entry import run
from facetrain.demo import Outcome
from facetrain.faces import write_folders
from facetrain.folder import Folder
from training.jobs import manifest
from training.jobs.platform import Platform
from training.jobs.uri import S3Uri

PLATFORM = Platform.example("local")
FIGURES = {"demo-drawn": None, "demo-scratch": 0.9, "demo-fine-tuned": 0.95}


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Four people, as many as the demo takes at least."""
    for person in ("anna", "boris", "carla", "dan"):
        (tmp_path / "people" / person).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "people" / person / f"{number}.jpg").write_bytes(b"x")
    return tmp_path / "people"


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Folder]:
    """What each job is given, by its dataset's name; the cloud and the drawing are played."""
    given: dict[str, Folder] = {}

    @contextmanager
    def deployed(*_: object) -> Iterator[None]:
        yield None

    def train(_: object, folder: Folder, outcome: Outcome, *__: object, name: str) -> None:
        given[name] = folder
        outcome.job_name, outcome.status, outcome.model = (
            name,
            "Completed",
            f"s3://outputs/{name}/model.tar.gz",
        )
        outcome.accuracy = outcome.eer = outcome.tar_at_far_1e_2 = FIGURES[name]

    def fetch(_: object, outcome: Outcome, folder: Path) -> Path:
        (folder / pretrain.MODEL).write_text(str(outcome.model))
        return folder / pretrain.MODEL

    def drawn(scratch: Path, *_: object) -> Path:
        (scratch / "faces" / "nobody").mkdir(parents=True)
        Image.new("RGB", (112, 112)).save(scratch / "faces" / "nobody" / "0.jpg")
        return scratch / "faces"

    monkeypatch.setattr(demo, "deployed", deployed)
    monkeypatch.setattr(demo, "train", train)
    monkeypatch.setattr(demo, "drawn_faces", drawn)
    monkeypatch.setattr(pretrain, "fetch", fetch)
    monkeypatch.setattr(reports, "fetch", lambda _, name, folder: folder / f"{name}.html")
    return given


def ignore(_: Any) -> None:
    """Progress that nobody reads."""


def hyperparameters(folder: Folder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(folder.document)["hyperparameters"]
    return found


def test_the_photographs_are_trained_on_twice_once_from_the_drawn_faces_model(
    photographs: Path, jobs: dict[str, Folder]
) -> None:
    compared = pretrain.run(photographs, "demo", False, ignore, ignore)
    assert compared.completed
    scratch, tuned = jobs["demo-scratch"], jobs["demo-fine-tuned"]
    assert scratch.people("images/") == tuned.people("images/")
    assert [file.key for file in tuned.below("weights/")] == ["weights/model.tar.gz"]
    assert not scratch.below("weights/")


def test_both_ways_differ_in_the_learning_rate_and_the_weights_alone(
    photographs: Path, jobs: dict[str, Folder]
) -> None:
    pretrain.run(photographs, "demo", False, ignore, ignore)
    scratch, tuned = hyperparameters(jobs["demo-scratch"]), hyperparameters(jobs["demo-fine-tuned"])
    differing = {name for name in scratch | tuned if scratch.get(name) != tuned.get(name)}
    assert differing == {"lr", "pretrained"}


def test_the_fine_tuning_jobs_manifest_is_accepted(photographs: Path, jobs: dict[str, Folder]) -> None:
    pretrain.run(photographs, "demo", False, ignore, ignore)
    location = S3Uri.parse(f"s3://{PLATFORM.inputs_bucket}/inputs/demo-fine-tuned/manifest.json")
    parsed = manifest.parse(jobs["demo-fine-tuned"].document, location, PLATFORM, 0.0)
    assert parsed.channels["weights"].key == "inputs/demo-fine-tuned/weights/"


def test_a_job_that_does_not_complete_ends_the_comparison(
    photographs: Path, jobs: dict[str, Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object, folder: Folder, outcome: Outcome, *__: object, name: str) -> None:
        jobs[name], outcome.status = folder, "Failed"

    monkeypatch.setattr(demo, "train", fails)
    compared = pretrain.run(photographs, "demo", False, ignore, ignore)
    assert not compared.completed
    assert list(jobs) == ["demo-drawn"]


@pytest.mark.usefixtures("jobs")
def test_one_command_prints_accuracy_eer_and_tar_of_both(
    photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", "--faces", str(photographs), "--pretrain"]) == 0
    printed = capsys.readouterr().out
    assert "accuracy" in printed
    assert "EER" in printed
    assert "TAR at FAR 1e-2" in printed
    lines = {line.split("  ")[0]: line for line in printed.splitlines()}
    assert lines["from scratch"].count("90.0%") == 3
    assert lines["fine-tuned"].count("95.0%") == 3


def test_pretraining_alone_is_refused_for_there_is_nothing_to_fine_tune_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["demo", "--pretrain"]) == 2
    assert "--pretrain: needs --faces DIR" in capsys.readouterr().err


def test_drawn_faces_are_made_grey_and_cut_the_same_way_on_every_machine(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_folders(tmp_path / name, identities=1, images=2)
        pretrain.hardened(tmp_path / name)
    pictures = [np.asarray(Image.open(path)) for path in sorted(tmp_path.rglob("*.jpg"))]
    assert [picture.shape for picture in pictures] == [(112, 112)] * 4
    assert np.array_equal(pictures[0], pictures[2])
    assert np.array_equal(pictures[1], pictures[3])
