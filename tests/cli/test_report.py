"""`report`: the page out of a job's archive, and what is said where there is none."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import PLATFORM, Facetrain
from tests.cli.fake_aws import FakeAws, Object
from tests.cli.test_jobs import DONE, FAILED, RUNNING, jobs

__all__ = ["jobs"]  # the fixture

PAGE = b"<!DOCTYPE html><title>staff</title>"


def archive(**files: bytes) -> bytes:
    """A .tar.gz; two underscores in a name stand for a dot."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "."))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def put(aws: FakeAws, name: str, data: bytes) -> None:
    """As SageMaker leaves a job's output."""
    place = f"{PLATFORM.outputs_bucket}/outputs/visitors/{name}/output/output.tar.gz"
    aws.objects[place] = Object(data, "v1", None)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser was asked to show."""
    shown: list[str] = []

    def show(address: str) -> bool:
        shown.append(address)
        return True

    monkeypatch.setattr("webbrowser.open", show)
    return shown


@pytest.mark.usefixtures("jobs")
def test_the_report_is_fetched_shown_and_its_path_printed(
    facetrain: Facetrain, aws: FakeAws, opened: list[str], tmp_path: Path
) -> None:
    put(aws, DONE, archive(tensorboard__x=b"1", report__html=PAGE))
    ran = facetrain("report", "visitors-b", "--output", tmp_path)
    path = tmp_path / f"{DONE}.html"
    assert (ran.code, ran.out, ran.err) == (0, f"{path}\n", "")
    assert path.read_bytes() == PAGE
    assert opened == [path.as_uri()]


@pytest.mark.usefixtures("jobs")
def test_a_report_may_hold_faces_so_only_its_owner_can_read_it(
    facetrain: Facetrain, aws: FakeAws, tmp_path: Path
) -> None:
    put(aws, DONE, archive(report__html=PAGE))
    assert facetrain("report", DONE, "--no-open", "--output", tmp_path).code == 0
    assert (tmp_path / f"{DONE}.html").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("jobs")
def test_without_a_name_it_is_the_newest_jobs(
    facetrain: Facetrain, aws: FakeAws, jobs: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    del jobs[RUNNING]
    put(aws, DONE, archive(report__html=PAGE))
    ran = facetrain("report", "--no-open", "--json", "--output", tmp_path)
    path = tmp_path / f"{DONE}.html"
    assert json.loads(ran.out) == {"job": DONE, "report": str(path), "forgotten": None}


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize(
    ("job", "said"),
    [
        (RUNNING, f"{RUNNING} is still running (InProgress): its report is written at its end"),
        (FAILED, f"{FAILED} has no report, for it is Failed: AlgorithmError: no images"),
        (DONE, f"{DONE} wrote no report"),
    ],
)
def test_a_job_without_a_report_says_why(facetrain: Facetrain, job: str, said: str, tmp_path: Path) -> None:
    ran = facetrain("report", job, "--output", tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert said in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize(
    ("data", "said"),
    [(archive(other__txt=b"1"), "holds none"), (archive(report__html=PAGE)[:40], "cannot be read")],
    ids=["without", "cut"],
)
def test_an_archive_without_the_page_or_cut_short_is_told(
    facetrain: Facetrain, aws: FakeAws, data: bytes, said: str, tmp_path: Path
) -> None:
    put(aws, DONE, data)
    ran = facetrain("report", DONE, "--output", tmp_path)
    assert ran.code == 1
    assert said in ran.err


@pytest.mark.usefixtures("jobs")
def test_where_no_browser_starts_it_says_so(
    facetrain: Facetrain, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    put(aws, DONE, archive(report__html=PAGE))
    ran = facetrain("report", DONE, "--output", tmp_path)
    assert (ran.code, ran.err) == (0, "no browser could be started here: open the file with one\n")
