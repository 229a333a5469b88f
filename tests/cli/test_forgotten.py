"""Whoever looks at a model that learnt from somebody who must be forgotten is told so, and what to do."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import PLATFORM, Facetrain
from tests.cli.fake_aws import FakeAws, Object
from tests.cli.test_jobs import DONE, FAILED, RUNNING, jobs
from tests.cli.test_report import PAGE, archive, put
from tests.cli.test_verify import Evaluation, evaluation
from training.jobs.forgotten import NOTE_NAME

__all__ = ["evaluation", "jobs"]  # fixtures

FOLDER = f"{PLATFORM.outputs_bucket}/outputs/visitors/{DONE}"
SAID = "learnt from a person who must be forgotten since 2026-11-22: train again without them"


def mark(aws: FakeAws, *, learnt: bool = True) -> None:
    entry = {"digest": "d" * 64, "at": "2026-11-22", "why": "trained on", "learnt": learnt}
    body = json.dumps({"schema": 1, "forgotten": [entry]}).encode()
    aws.objects[f"{FOLDER}/forgotten.json"] = Object(body, "v1", None)


@pytest.fixture
def marked(aws: FakeAws, jobs: object) -> FakeAws:
    mark(aws)
    return aws


@pytest.mark.usefixtures("marked")
def test_show_says_it_of_the_job_and_of_no_other(facetrain: Facetrain) -> None:
    assert f"{DONE}: its model {SAID}" in facetrain("show", DONE).err
    assert json.loads(facetrain("show", DONE, "--json").out)["forgotten"] == SAID
    assert json.loads(facetrain("show", FAILED, "--json").out)["forgotten"] is None


@pytest.mark.usefixtures("marked")
def test_the_list_names_the_jobs_whose_models_did(facetrain: Facetrain) -> None:
    ran = facetrain("jobs")
    assert ran.err.splitlines() == [f"{DONE}: its model {SAID}"]
    found = {job["name"]: job["forgotten"] for job in json.loads(facetrain("jobs", "--json").out)}
    assert found == {RUNNING: None, DONE: SAID, FAILED: None}


def test_who_was_only_verified_on_is_no_matter_of_the_model(
    facetrain: Facetrain, aws: FakeAws, jobs: object
) -> None:
    mark(aws, learnt=False)
    assert facetrain("show", DONE).err == ""


def test_a_report_comes_with_it(facetrain: Facetrain, marked: FakeAws, tmp_path: Path) -> None:
    put(marked, DONE, archive(report__html=PAGE))
    ran = facetrain("report", DONE, "--no-open", "--output", tmp_path)
    assert (ran.code, ran.err) == (0, f"{DONE}: its model {SAID}\n")
    ran = facetrain("report", DONE, "--no-open", "--output", tmp_path, "--json")
    assert json.loads(ran.out)["forgotten"] == SAID


def test_verify_says_it_of_a_jobs_model(
    facetrain: Facetrain, marked: FakeAws, evaluation: Evaluation
) -> None:
    marked.objects[f"{FOLDER}/output/model.tar.gz"] = Object(archive(x=b"1"), "v1", None)
    ran = facetrain("verify", f"s3://{FOLDER}/output/model.tar.gz", "lfw.bin")
    assert f"s3://{FOLDER}/output/model.tar.gz {SAID}" in ran.err


@pytest.mark.parametrize("packed", [True, False])
def test_verify_says_it_of_a_copy_that_says_so_itself(
    no_cloud: Facetrain, evaluation: Evaluation, tmp_path: Path, packed: bool
) -> None:
    note = json.dumps({"what": SAID}).encode()
    model = tmp_path / ("copy.tar.gz" if packed else "copy")
    if packed:
        model.write_bytes(archive(**{NOTE_NAME: note}))
    else:
        model.mkdir()
        (model / NOTE_NAME).write_bytes(note)
    assert f"{model} {SAID}" in no_cloud("verify", model, "lfw.bin").err


def test_of_any_other_model_nothing_is_said(
    no_cloud: Facetrain, evaluation: Evaluation, tmp_path: Path
) -> None:
    (tmp_path / "broken.tar.gz").write_bytes(b"no archive")
    (tmp_path / "whole.tar.gz").write_bytes(archive(x=b"1"))
    for name in ("broken.tar.gz", "whole.tar.gz", "backbone.pth"):
        assert "forgotten" not in no_cloud("verify", tmp_path / name, "lfw.bin").err
