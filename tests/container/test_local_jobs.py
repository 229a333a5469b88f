"""`local up --runner docker`: a dropped manifest is trained by the image from the cloud's registry."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from facetrain import demo
from facetrain.client import Connection, discover
from facetrain.local import cloud as local_cloud
from facetrain.local import container_image, deployment
from facetrain.local.cloud import LocalCloudError
from tests.container.test_yolov5 import NAMED as YOLOV5
from tests.whole_path.account import Account, manifest, until, write_faces
from tests.yolov5.files import write_job
from training.jobs import contract
from training.jobs.uri import S3Uri

if TYPE_CHECKING:
    from facetrain.image.engine import Engine

pytestmark = pytest.mark.container

NAME = "containers"
ENDLESS = {"network": "mbf", "batch_size": 4, "holdout_fraction": 0.5, "workers": 0, "epochs": 1000}


@pytest.fixture(scope="module")
def deployed(engine: "Engine", image: str, facetrain_home: Path) -> Iterator[Account]:
    """A cloud of containers, with the image that the other tests have built."""
    tag = container_image.tag(deployment.checkout())
    engine.run("tag", image, container_image.name("arcface", tag))
    if detectors := os.environ.get(YOLOV5):
        engine.run("tag", detectors, container_image.name("yolov5", tag))
    environment = local_cloud.up(NAME, progress=print, runner="docker").environment()
    yield Account(discover(Connection(environment), environment["FACETRAIN_STAGE"]), environment)
    local_cloud.down(NAME, delete=True)


@pytest.fixture
def account(deployed: Account) -> Iterator[Account]:
    yield deployed
    deployed.stop_all()


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder)
    return folder


def log_of(account: Account, job: str) -> str:
    logs = account.deployment.connection.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=contract.LOG_GROUP, logStreamNamePrefix=job
    )
    return "\n".join(event["message"] for page in pages for event in page["events"])


def left(engine: "Engine") -> list[str]:
    label = f"label=facetrain.cloud={Path(local_cloud.status(NAME).home) / 'sagemaker'}"
    containers = engine.run("ps", "--all", "--quiet", "--filter", label).split()
    return containers + engine.run("network", "ls", "--quiet", "--filter", label).split()


def test_a_drop_is_trained_by_the_container_from_the_registry(
    engine: "Engine", account: Account, faces: Path
) -> None:
    account.upload("dropped", faces)
    job = account.wait_for_end(account.drop("dropped", manifest()))
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert account.exists(S3Uri.parse(job["ModelArtifacts"]["S3ModelArtifacts"]))
    image = str(demo.image_of(account.deployment, job))
    assert image.startswith("000000000000.dkr.ecr.us-east-1.amazonaws.com/facetrain-local/arcface@sha256:")
    held = engine.run("image", "ls", "--digests", "--format", "{{.Repository}}@{{.Digest}}").split()
    assert any(name.partition("/")[2] == image.partition("/")[2] for name in held), "it was pulled"
    assert "model written to /opt/ml/model" in log_of(account, job["TrainingJobName"])
    assert left(engine) == []


@pytest.mark.skipif(not os.environ.get(YOLOV5), reason=f"{YOLOV5} names no image of detectors")
def test_a_detectors_drop_is_trained_by_its_own_image(account: Account, tmp_path: Path) -> None:
    paths = write_job(tmp_path / "ml")
    account.upload("shapes", paths.channel("images").parent)
    channels = {name: f"{name}/" for name in ("images", "labels", "cfg")}
    knobs = {"model": "yolov5n", "image_size": 64, "workers": 0}
    document = manifest(algorithm="yolov5", channels=channels, hyperparameters=knobs)
    job = account.wait_for_end(account.drop("shapes", document))
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert "/facetrain-local/yolov5@sha256:" in str(demo.image_of(account.deployment, job))
    assert "validation:map50" in {one["MetricName"] for one in job["FinalMetricDataList"]}
    assert account.exists(S3Uri.parse(job["ModelArtifacts"]["S3ModelArtifacts"]))


def test_two_instances_train_one_model_on_a_network_of_their_own(
    engine: "Engine", account: Account, faces: Path
) -> None:
    account.upload("pair", faces)
    resources = {"instance_type": "ml.m5.xlarge", "instance_count": 2}
    job = account.wait_for_end(account.drop("pair", manifest(resources=resources)))
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert "hosts=2 ranks=2" in log_of(account, job["TrainingJobName"])
    assert left(engine) == []


def test_a_job_that_is_stopped_leaves_its_checkpoint_in_s3(
    engine: "Engine", account: Account, faces: Path
) -> None:
    account.upload("stopped", faces)
    name = account.drop("stopped", manifest(hyperparameters=ENDLESS))
    account.wait_for_start(name)
    until(lambda: "step=" in log_of(account, name), "the first steps")
    assert left(engine) != []
    account.deployment.sagemaker.stop_training_job(TrainingJobName=name)
    job = account.wait_for_end(name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    place = S3Uri.parse(job["CheckpointConfig"]["S3Uri"])
    listed: dict[str, Any] = account.deployment.s3.list_objects_v2(Bucket=place.bucket, Prefix=place.key)
    assert any(".complete" in item["Key"] or item["Size"] > 1_000_000 for item in listed["Contents"])
    assert left(engine) == []


def test_up_again_pushes_nothing_and_remembers_what_jobs_run_as(deployed: Account) -> None:
    said = list[str]()
    local_cloud.up(NAME, progress=said.append)
    assert said == []
    assert local_cloud.status(NAME).runner == "docker"
    with pytest.raises(LocalCloudError, match=r"already runs, with --runner docker: stop it with .*--name"):
        local_cloud.up(NAME, runner="process")


def test_down_stops_the_job_and_leaves_nothing_and_up_resumes_it(
    engine: "Engine", account: Account, faces: Path
) -> None:
    account.upload("resumed", faces)
    name = account.drop("resumed", manifest(hyperparameters=ENDLESS, resources={"spot": True}))
    account.wait_for_start(name)
    until(lambda: "step=" in log_of(account, name), "the first steps")
    local_cloud.down(NAME)
    assert left(engine) == []
    said = list[str]()
    local_cloud.up(NAME, progress=said.append)
    assert [line for line in said if "image" in line] == [], "the registry kept it"
    until(lambda: "resumed" in log_of(account, name), "the second start from the checkpoint")
    states = json.dumps(account.describe(name)["SecondaryStatusTransitions"], default=str)
    assert "Interrupted" in states
