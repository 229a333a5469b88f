"""By hand with a real engine: build-and-push.sh, then training_job.py and the notebook, on one machine."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from facetrain.client import Connection
from facetrain.local import cloud as local_cloud
from facetrain.local import container_image, deployment
from facetrain.local.cloud import Cloud
from tests.by_hand import notebook
from tests.by_hand.account import Team, make_team
from tests.whole_path.account import QUICK, write_faces

if TYPE_CHECKING:
    from facetrain.image.engine import Engine

pytestmark = pytest.mark.container

NAME = "by-hand"
IMAGE_NAME = "face-training"
WRITTEN = notebook.ROOT / "ecr_image_fullname.txt"
EXAMPLE = notebook.ROOT / "examples" / "face-inputs"
SET = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module")
def cloud(engine: "Engine", image: str, facetrain_home: Path) -> Iterator[Cloud]:
    """A cloud whose jobs are containers, with the image that the other tests have built."""
    engine.run("tag", image, container_image.name("arcface", container_image.tag(deployment.checkout())))
    yield local_cloud.up(NAME, progress=print, runner="docker")
    local_cloud.down(NAME, delete=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each person."""
    folder = tmp_path_factory.mktemp("pictures")
    write_faces(folder)
    return folder / "images"


@pytest.fixture(scope="module")
def team(cloud: Cloud, pictures: Path) -> Team:
    """A team with pictures and an inputs folder in its bucket."""
    found = make_team(Connection(cloud.environment()), IMAGE_NAME)
    found.upload(pictures, "images")
    found.upload(EXAMPLE, "face-inputs")
    return found


@pytest.fixture(scope="module")
def pushed(cloud: Cloud, engine: "Engine") -> Iterator[str]:
    """What build-and-push.sh wrote; what stood there before stands there afterwards."""
    before = WRITTEN.read_bytes() if WRITTEN.exists() else None
    done = command("./build-and-push.sh", IMAGE_NAME, environment=cloud.environment())
    assert done.returncode == 0, done.stderr
    uri = WRITTEN.read_text().strip()
    yield uri
    WRITTEN.unlink() if before is None else WRITTEN.write_bytes(before)
    forget(engine, uri.partition("@")[0])


def forget(engine: "Engine", repository: str) -> None:
    """Take the repository's names away; the image may have others'."""
    names = engine.run("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository).split()
    if tagged := [name for name in names if not name.endswith("<none>")]:
        engine.run("image", "rm", *tagged)


def command(*words: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A command in the checkout, with a shell's variables after `facetrain local env`."""
    return subprocess.run(
        words,
        cwd=notebook.ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def training_job(cloud: Cloud, *options: str) -> subprocess.CompletedProcess[str]:
    return command(sys.executable, "training_job.py", *options, "--json", environment=cloud.environment())


def names_in(archive: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {Path(name).name for name in tar.getnames()}


def test_the_image_that_was_pushed_trains_a_model_by_its_digest(
    cloud: Cloud, team: Team, pushed: str
) -> None:
    assert re.fullmatch(r"localhost:\d+/face-training@sha256:[0-9a-f]{64}", pushed)
    done = training_job(
        cloud,
        *("--role", team.role_arn, "--images", team.uri("images"), "--inputs", team.uri("face-inputs")),
        *("--instance-type", "ml.m5.large", *SET),
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["status"] == "Completed"
    assert told["model"] == team.uri(f"face-inputs/results/{told['job']}/output/model.tar.gz")
    assert "model.onnx" in names_in(team.read(told["model"]))
    assert "model written to /opt/ml/model" in done.stderr, "a process would have written elsewhere"
    described = team.connection.client("sagemaker").describe_training_job(TrainingJobName=told["job"])
    assert described["AlgorithmSpecification"]["TrainingImage"] == pushed


def test_the_same_image_trains_on_this_machine_alone(
    cloud: Cloud, pushed: str, pictures: Path, tmp_path: Path, engine: "Engine"
) -> None:
    places = ("--images", str(pictures), "--inputs", str(EXAMPLE), "--output", str(tmp_path / "results"))
    done = training_job(cloud, "--instance-type", "local", *places, *SET)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "model.onnx" in names_in(Path(told["model"]).read_bytes())
    assert told["job"] not in engine.run("ps", "--all", "--format", "{{.Names}}")


def test_the_notebook_builds_pushes_and_trains(
    cloud: Cloud, team: Team, pushed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    printed = notebook.execute(
        {
            "INPUTS": team.uri("face-inputs"),
            "IMAGES": team.uri("images"),
            "ROLE": team.role_arn,
            "INSTANCE_TYPE": "ml.m5.large",
            "HYPERPARAMETERS": QUICK,
            "DOWNLOADS": str(tmp_path),
        },
        seconds=600,
    )
    assert json.loads(printed["request"])["AlgorithmSpecification"]["TrainingImage"] == pushed
    assert "The job: Completed" in printed["follow"]
    assert "similarity" in printed["use"]
