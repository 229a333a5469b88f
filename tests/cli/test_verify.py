"""`verify`: what is fetched, what is shown, and what is said where it cannot be done."""

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from facetrain import verify
from tests.cli.conftest import Facetrain
from tests.cli.fake_aws import FakeAws, Object

ONE: dict[str, Any] = {
    "network": "r50",
    "genuine": 3000,
    "impostor": 3000,
    "accuracy": 0.9962,
    "accuracy_std": 0.0031,
    "eer": 0.004,
    "auc": 0.9991,
    "rank_1": None,
    "threshold": 0.3121,
    "tar_at_far": {"1e-1": 0.999, "1e-2": 0.9971},
    "threshold_at_far": {"1e-1": 0.2, "1e-2": 0.25},
    "refused": {"rank_1": "the set does not say whose its images are"},
}


class Evaluation:
    """In place of the trainer's process: writes down what it was given, answers as told."""

    def __init__(self, answer: Mapping[str, Any]):
        self.answer, self.files = answer, list[list[str]]()

    def __call__(self, paths: list[str], max_unreadable: float, images: bool) -> dict[str, Any]:
        self.files = [
            sorted(str(file.relative_to(path)) for file in Path(path).rglob("*") if file.is_file())
            if Path(path).is_dir()
            else [Path(path).name]
            for path in paths
        ]
        return dict(self.answer)


@pytest.fixture
def evaluation(monkeypatch: pytest.MonkeyPatch) -> Evaluation:
    found = Evaluation(ONE)
    monkeypatch.setattr(verify, "_evaluated", found)
    return found


def test_the_figures_are_a_table_and_reasons_go_to_the_person(
    no_cloud: Facetrain, evaluation: Evaluation
) -> None:
    ran = no_cloud("verify", "model/", "sets/lfw.bin")
    assert ran.code == 0
    cells = [re.split(r"\s{2,}", line.strip()) for line in ran.out.splitlines()]
    lines = {label: " ".join(values) for label, *values in cells}
    assert lines["figure"] == "lfw.bin"
    assert lines["accuracy"] == "99.62 % ± 0.31"
    assert lines["TAR at FAR 1e-2"] == "99.71 %"
    assert lines["threshold at FAR 1e-2"] == "0.2500"
    assert lines["rank-1"] == ""
    assert "lfw.bin: no rank_1: the set does not say" in ran.err


def test_several_sets_are_columns_with_their_mean(no_cloud: Facetrain, evaluation: Evaluation) -> None:
    evaluation.answer = ONE | {"sets": {"lfw": ONE, "cfp_fp": ONE | {"eer": 0.1}}}
    assert no_cloud("verify", "model", "sets").out.splitlines()[0].split() == [
        "figure",
        "lfw",
        "cfp_fp",
        "mean",
    ]


def test_groups_are_a_table_of_their_own(no_cloud: Facetrain, evaluation: Evaluation) -> None:
    young = {"genuine": 50, "impostor": 60, "tar": 0.9, "far": 0.01, "accuracy": 0.945}
    old = {"genuine": 5, "impostor": 6, "refused": "a group needs 30 pairs of each kind, not 5 and 6"}
    evaluation.answer = ONE | {"groups": {"young": young, "old": old}}
    ran = no_cloud("verify", "model", "people")
    assert "young  50       60        90.00 %  1.00 %  94.50 %" in ran.out
    assert "group old: a group needs 30 pairs" in ran.err


def test_json_is_the_figures_as_they_are(no_cloud: Facetrain, evaluation: Evaluation) -> None:
    ran = no_cloud("verify", "model", "lfw.bin", "--json")
    assert json.loads(ran.out) == ONE | {"model": "model", "set": "lfw.bin"}


def test_what_lies_in_s3_is_fetched(facetrain: Facetrain, aws: FakeAws, evaluation: Evaluation) -> None:
    for key in ("o/model.tar.gz", "sets/lfw/pairs.txt", "sets/lfw/Ann/Ann_0001.jpg"):
        aws.objects[f"bucket-a/{key}"] = Object(b"x", "1", None)
    assert facetrain("verify", "s3://bucket-a/o/model.tar.gz", "s3://bucket-a/sets/lfw").code == 0
    assert evaluation.files == [["model.tar.gz"], ["Ann/Ann_0001.jpg", "pairs.txt"]]


def test_nothing_in_s3_is_refused(facetrain: Facetrain, aws: FakeAws, evaluation: Evaluation) -> None:
    ran = facetrain("verify", "s3://bucket-a/model.tar.gz", "lfw.bin")
    assert ran.code == 2
    assert "MODEL: there is nothing at s3://bucket-a/model.tar.gz" in ran.err


def test_without_the_trainers_packages_it_says_which_to_install(
    no_cloud: Facetrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("torch", "onnxruntime") else found(name)
    )
    ran = no_cloud("verify", "model", "lfw.bin")
    assert ran.code == 1
    assert "torch, onnxruntime are not installed: `pip install 'facetrain[trainer]'`" in ran.err


def test_the_trainers_process_refuses_a_set_with_its_sentence(no_cloud: Facetrain, tmp_path: Path) -> None:
    ran = no_cloud("verify", tmp_path / "none.pth", tmp_path, "--json")
    assert ran.code == 2
    assert json.loads(ran.out)["errors"][0]["path"] == "MODEL"
