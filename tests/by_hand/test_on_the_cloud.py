"""By hand on the cloud on this machine, as a team with a bucket and a role of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from facetrain.client import Connection, discover
from facetrain.local.cloud import Cloud
from tests.by_hand import notebook
from tests.by_hand.account import Team, make_team
from tests.whole_path.account import QUICK, write_faces

pytestmark = pytest.mark.cloud


@pytest.fixture(scope="module")
def image(cloud: Cloud) -> str:
    """The deployment's address, which stands for the program where jobs are processes."""
    environment = cloud.environment()
    platform = discover(Connection(environment), environment["FACETRAIN_STAGE"]).platform
    return platform.images["arcface"]


@pytest.fixture(scope="module")
def team(cloud: Cloud, image: str, tmp_path_factory: pytest.TempPathFactory) -> Team:
    """A team whose pictures are in S3."""
    found = make_team(Connection(cloud.environment()), image.partition("/")[2].partition(":")[0])
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder)
    found.upload(folder / "images", "images")
    return found


@pytest.fixture
def shell(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell after eval "$(facetrain local env)"."""
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("shell")
def test_the_notebook_trains_a_model_from_its_first_cell_to_its_last(
    team: Team, image: str, tmp_path: Path
) -> None:
    printed = notebook.execute(
        {
            "INPUTS": team.uri("face-inputs"),
            "IMAGES": team.uri("images"),
            "ROLE": team.role_arn,
            "IMAGE": image,
            "INSTANCE_TYPE": "ml.m5.large",
            "HYPERPARAMETERS": QUICK,
            "DOWNLOADS": str(tmp_path),
        }
    )
    request = json.loads(printed["request"])
    name = request["TrainingJobName"]
    assert {channel["ChannelName"] for channel in request["InputDataConfig"]} == {"images", "cfg"}
    assert "The job: Completed" in printed["follow"]
    assert "train:loss" in printed["figures"]
    results = f"face-inputs/results/{name}/output/"
    assert {f"{results}model.tar.gz", f"{results}output.tar.gz"} <= team.keys("face-inputs/results/")
    assert "report.html" in printed["report"]
    assert printed["use"].count("similarity") == 2


def test_a_dry_run_in_the_terminal_leaves_nothing_on_the_cloud(team: Team, cloud: Cloud, image: str) -> None:
    """The script itself, in a process of its own, with the cloud named by an option."""
    command = [sys.executable, str(notebook.ROOT / "training_job.py"), "--cloud", cloud.name, "--dry-run"]
    command += ["--image", image, "--role", "face-training-role"]
    command += ["--images", team.uri("images"), "--output", team.uri("models")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["RoleArn"] == team.role_arn
    assert not team.keys("models/")
