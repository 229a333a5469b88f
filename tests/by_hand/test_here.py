"""`--instance-type local`, with a docker that does as an engine would: folders, options, archives."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.by_hand.conftest import ORDER, Account, TrainingJob
from tests.cli.fake_aws import fields_of
from tests.image.conftest import FakeDocker, versions

# The base of the job's folders, out of the options that a container is created with.
CREATE = """
printf '%s\\n' "$@" > "$here/created"
sed -n 's/^type=bind,"source=\\(.*\\)",target=\\/opt\\/ml$/\\1/p' "$here/created" > "$here/base"
"""
# A program that says what it was given and leaves a model.
TRAIN = """
base=$(cat "$here/base")
cp "$base/input/config/hyperparameters.json" "$here/hyperparameters"
ls "$base/input/data" > "$here/channels"
echo "epoch=1 loss=3.5"
echo weights > "$base/model/model.onnx"
echo page > "$base/output/data/report.html"
"""
FAIL = """
printf 'channels.images: too few people' > "$(cat "$here/base")/output/failure"
exit 1
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    fake = FakeDocker(tmp_path / "docker")
    fake.prints("version", versions())
    fake.prints("info", json.dumps({"MemTotal": 2**30, "Runtimes": {}}))
    fake.prints("inspect", json.dumps({"Running": False, "OOMKilled": False, "Error": ""}))
    fake.answers("create", CREATE)
    fake.answers("start", TRAIN)
    monkeypatch.setenv("PATH", str(fake.folder), prepend=os.pathsep)
    return fake


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An inputs folder, pictures and a table on this machine."""
    folder = tmp_path / "data"
    for name in ("face-inputs/input/data/cfg/train-args.json", "images/id0/0.jpg", "labels.csv"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return folder


def here(data: Path) -> list[str]:
    return [
        *("--instance-type", "local", "--image", "face-training:1", "--set", "epochs=3"),
        *("--images", str(data / "images"), "--labels", str(data / "labels.csv")),
        *("--inputs", str(data / "face-inputs")),
    ]


def names_in(archive: str | Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return tar.getnames()


def test_folders_of_this_machine_become_a_model_in_the_results_folder(
    training_job: TrainingJob, docker: FakeDocker, data: Path
) -> None:
    ran = training_job(*here(data))
    assert ran.code == 0, ran.err
    shown = fields_of(ran.out)
    assert shown["status"] == "Completed"
    model = Path(shown["model"])
    assert model.is_relative_to(data / "face-inputs" / "results")
    assert names_in(model) == ["model.onnx"]
    assert names_in(model.parent / "output.tar.gz") == ["report.html"]
    assert "  epoch=1 loss=3.5\n" in ran.err


def test_the_container_gets_what_the_service_would_give_it(
    training_job: TrainingJob, docker: FakeDocker, data: Path
) -> None:
    training_job(*here(data))
    created = (docker.folder / "created").read_text().splitlines()
    assert created[-2:] == ["face-training:1", "train"]
    assert created[created.index("--network") + 1] == "none"
    where = "/opt/ml/input/data"
    for channel, source in (
        ("images", "images"),
        ("labels/labels.csv", "labels.csv"),
        ("cfg", "face-inputs/input/data/cfg"),
    ):
        assert f'type=bind,"source={data / source}",target={where}/{channel},readonly' in created
    assert json.loads((docker.folder / "hyperparameters").read_text()) == {
        "algorithm": "arcface",
        "epochs": "3",
    }
    assert not any("AWS_" in option for option in created)


def test_channels_and_results_may_be_in_s3(
    training_job: TrainingJob, account: Account, docker: FakeDocker
) -> None:
    ran = training_job(*ORDER[2:], "--instance-type", "local", "--image", "face-training:1")
    assert ran.code == 0, ran.err
    assert (docker.folder / "channels").read_text().split() == ["cfg", "images"]
    model = fields_of(ran.out)["model"]
    assert model.startswith("s3://team/face-inputs/results/face-training-2")
    assert model.removeprefix("s3://") in account.aws.objects


def test_a_failed_program_ends_with_its_reason_and_1(
    training_job: TrainingJob, docker: FakeDocker, data: Path
) -> None:
    docker.answers("start", FAIL)
    ran = training_job(*here(data))
    assert ran.code == 1
    assert fields_of(ran.out)["reason"] == "AlgorithmError: channels.images: too few people, exit code: 1"


def test_an_image_that_is_nowhere_is_told(training_job: TrainingJob, docker: FakeDocker, data: Path) -> None:
    docker.fails("image", "Error: No such image")
    docker.fails("pull", "manifest unknown")
    ran = training_job(*here(data))
    assert ran.code == 1
    assert "face-training:1 is not in this machine's engine and cannot be pulled" in ran.err
    assert "name another with --image" in ran.err


def test_a_channel_in_s3_that_holds_nothing_is_told(training_job: TrainingJob, docker: FakeDocker) -> None:
    options = ("--instance-type", "local", "--image", "i:1", "--output", "s3://team/models")
    ran = training_job("--images", "s3://team/nothing", *options)
    assert ran.code == 1
    assert "there is nothing at s3://team/nothing/" in ran.err


def test_all_mistakes_are_told_at_once_and_no_engine_is_asked(
    training_job: TrainingJob, docker: FakeDocker
) -> None:
    options = (
        "--spot",
        "--instance-count",
        "2",
        "--max-hours",
        "1",
        "--role",
        "x",
        "--input-mode",
        "FastFile",
        "--labels",
        "nowhere.csv",
    )
    ran = training_job("--instance-type", "local", *options)
    assert ran.code == 2
    useless = "means nothing to a container on this machine: leave it out"
    assert sorted(ran.err.splitlines()) == sorted(
        [
            *(f"{option}: {useless}" for option in ("--spot", "--instance-count", "--max-hours", "--role")),
            f"--input-mode: {useless}",
            '--labels: there is no "nowhere.csv" on this machine',
            "--images: is missing: name the folder of pictures, here or in S3",
            "--output: is missing: name a folder for the results, here or in S3",
        ]
    )
    assert docker.calls == []


def test_a_job_here_cannot_be_left_alone(training_job: TrainingJob, docker: FakeDocker, data: Path) -> None:
    ran = training_job(*here(data), "--no-wait")
    assert ran.code == 2
    assert ran.err == "--no-wait: the job ends with this command: leave it out\n"


def test_a_dry_run_shows_where_everything_is(training_job: TrainingJob, data: Path) -> None:
    shown = training_job.dry(*here(data))
    assert shown["Channels"]["images"] == str(data / "images")
    assert shown["Output"] == str(data / "face-inputs" / "results")
    assert shown["HyperParameters"]["epochs"] == "3"
