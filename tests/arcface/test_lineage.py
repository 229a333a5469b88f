"""A model says where it comes from, as far as the weights that it started from do."""

import json
from pathlib import Path

import pytest

from training.arcface import lineage
from training.container.about import About
from training.jobs.forgotten import NOTE_NAME

ABOUT = About("second", "staff")


def test_a_model_from_the_start_comes_from_none(tmp_path: Path) -> None:
    assert lineage.describe(ABOUT, None) == {"job": "second", "dataset": "staff", "from": None}


def test_of_a_bare_file_what_lies_beside_it_tells(tmp_path: Path) -> None:
    weights = tmp_path / "backbone.pth"
    weights.write_bytes(b"weights")
    (tmp_path / "lineage.json").write_text(json.dumps({"job": "first", "from": None}))
    start = lineage.describe(ABOUT, weights)["from"]
    assert (start["name"], start["jobs"]) == ("backbone.pth", ["first"])
    assert start["sha256"] == lineage.digests(tmp_path)["backbone.pth"]


def test_weights_that_learnt_from_somebody_forgotten_pass_on_that_they_did(tmp_path: Path) -> None:
    weights = tmp_path / "backbone.pth"
    weights.write_bytes(b"weights")
    assert lineage.note_of(lineage.describe(ABOUT, weights)) == ""
    (tmp_path / NOTE_NAME).write_text('{"what": "learnt from a person"}')
    assert lineage.note_of(lineage.describe(ABOUT, weights)) == "learnt from a person"
    assert lineage.note_of(lineage.describe(ABOUT, None)) == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"job": 7, "from": 7}', '{"from": {"jobs": "first"}}'])
def test_what_says_nothing_of_use_names_no_job(tmp_path: Path, text: str) -> None:
    weights = tmp_path / "backbone.pth"
    weights.write_bytes(b"weights")
    (tmp_path / "lineage.json").write_text(text)
    (tmp_path / NOTE_NAME).write_text(text)
    assert lineage.note_of(lineage.describe(ABOUT, weights)) == ""
    assert lineage.describe(ABOUT, weights)["from"]["jobs"] == []
