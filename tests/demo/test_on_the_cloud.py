"""The commands against a running cloud, with nothing put in AWS's place by hand."""

import json
import time
from pathlib import Path

import pytest

from facetrain.cli.entry import run
from facetrain.client import Connection, discover
from facetrain.faces import write_folders
from facetrain.local.cloud import Cloud
from facetrain.storage import PART_BYTES

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("cloud")]
QUICK = ("network=mbf", "max_steps=2", "batch_size=4", "holdout_fraction=0.5", "workers=0", "compile=off")


class Local:
    """`facetrain … --local`."""

    def __init__(self, capture: pytest.CaptureFixture[str]):
        self._capture = capture

    def __call__(self, *arguments: object, code: int = 0) -> str:
        self._capture.readouterr()
        answered = run([*(str(argument) for argument in arguments), "--local"])
        said = self._capture.readouterr()
        assert answered == code, said.err
        return said.out


@pytest.fixture
def facetrain(capsys: pytest.CaptureFixture[str]) -> Local:
    return Local(capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four people with three pictures each, and a file that is large enough to go in parts."""
    write_folders(tmp_path / "images", identities=4, images=3)
    (tmp_path / "notes.bin").write_bytes(b"large" * (PART_BYTES // 4))
    return tmp_path


def begin_upload(cloud: Cloud, file: Path, dataset: str) -> None:
    """As a push leaves it that was cut off after the first part."""
    environment = cloud.environment()
    deployed = discover(Connection(environment), environment["FACETRAIN_STAGE"])
    uri = deployed.dataset_folder(dataset).join(file.name)
    where = {"Bucket": uri.bucket, "Key": uri.key}
    begun = deployed.s3.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")
    with file.open("rb") as opened:
        deployed.s3.upload_part(
            **where,
            UploadId=begun["UploadId"],
            PartNumber=1,
            Body=opened.read(PART_BYTES),
            ChecksumAlgorithm="SHA256",
        )


def test_a_pushed_folder_becomes_a_model(facetrain: Local, folder: Path, cloud: Cloud) -> None:
    begin_upload(cloud, folder / "notes.bin", "pushed")
    settings = [word for setting in QUICK for word in ("--set", setting)]
    pushed = json.loads(facetrain("dataset", "push", folder, "pushed", *settings, "--json"))
    assert (pushed["uploaded"], pushed["unchanged"], pushed["resumed"]) == (13, 0, PART_BYTES)
    await_job(facetrain, pushed["job_name"])

    log = facetrain("logs", "-f", pushed["job_name"])
    assert "verification " in log

    shown = json.loads(facetrain("show", pushed["job_name"], "--json"))
    assert (shown["status"], shown["dataset"]) == ("Completed", "pushed")
    assert "validation:auc" in shown["metrics"]
    assert shown["model"].endswith(f"/outputs/pushed/{pushed['job_name']}/output/model.tar.gz")

    reported = json.loads(facetrain("report", pushed["job_name"], "--no-open", "--json", "-o", folder))
    page = Path(reported["report"]).read_text()
    assert pushed["job_name"] in page
    assert "data:image/" in page  # the hardest pairs


def test_a_second_push_sends_the_manifest_alone_and_a_job_can_be_stopped(
    facetrain: Local, folder: Path
) -> None:
    endless = [word for setting in ("network=mbf", "epochs=1000", "workers=0") for word in ("--set", setting)]
    first = json.loads(facetrain("dataset", "push", folder, "again", *endless, "--json"))
    again = json.loads(facetrain("dataset", "push", folder, "again", *endless, "--json"))
    assert (again["uploaded"], again["unchanged"], again["bytes"]) == (0, 13, 0)
    assert again["job_name"] != first["job_name"]
    for job in (first["job_name"], again["job_name"]):
        await_job(facetrain, job)
        facetrain("stop", job)
        facetrain("logs", "-f", job, code=1)
        assert json.loads(facetrain("show", job, "--json"))["status"] == "Stopped"


def test_doctor_finds_nothing_wrong(facetrain: Local) -> None:
    checks = json.loads(facetrain("doctor", "--json"))
    assert {check["status"] for check in checks} <= {"ok", "skipped"}
    skipped = {check["name"]: check["detail"] for check in checks if check["status"] == "skipped"}
    expected = {"image", "image yolov5", "quota", "permissions"}
    assert set(skipped) - {"docker"} == expected  # Docker may be there or not
    assert all(skipped.values())


def await_job(facetrain: Local, name: str) -> None:
    deadline = time.monotonic() + 60
    while name not in facetrain("jobs", "--limit", 100):
        assert time.monotonic() < deadline, f"{name} did not start"
        time.sleep(0.3)
