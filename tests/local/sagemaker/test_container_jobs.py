"""The endpoint with the docker runner and a stand-in for docker: what becomes of a job, in which order."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from facetrain.local import ports
from tests.local.fake_docker import FakeDocker
from tests.local.sagemaker.conftest import BUCKET, Place
from tests.local.sagemaker.test_restart import copy_tls, usage_error

MANIFEST = '{"schemaVersion": 2, "config": {"digest": "sha256:' + "0" * 64 + '"}, "layers": []}'
VERSION = '{"Client": {"Version": "20.10.24"}, "Server": {"Arch": "amd64", "Os": "linux"}}'
PULLING = "Downloading the training image"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    fake = FakeDocker(tmp_path / "docker")
    fake.answer("version", out=VERSION)
    monkeypatch.setenv("PATH", str(fake.folder))  # no real one beside it
    return fake


@pytest.fixture
def stopped(place: Place, tmp_path: Path) -> Place:
    """A second endpoint of its own beside the same MiniStack, not started."""
    home = replace(place.servers.home, root=tmp_path)
    home.create()
    port = ports.choose(1, [])[0]
    servers = replace(place.servers, home=home, sagemaker_port=port, runner="docker")
    copy_tls(place, servers)
    return Place(servers, ["--shutdown-grace", "1", "--stop-grace", "1"], roles=place.roles)


@pytest.fixture
def containers(stopped: Place, docker: FakeDocker) -> Iterator[Place]:
    """It started, with an image in the cloud's registry."""
    ecr = stopped.client("ecr")
    if not ecr.describe_repositories()["repositories"]:
        ecr.create_repository(repositoryName="tests")
        ecr.put_image(repositoryName="tests", imageManifest=MANIFEST, imageTag="1")
    stopped.start()
    yield stopped
    stopped.stop()


def pulling(place: Place, name: str) -> None:
    place.wait(name, lambda record: record["SecondaryStatusTransitions"][-1]["StatusMessage"] == PULLING)


def test_a_job_is_swept_pulled_created_started_and_removed(containers: Place, docker: FakeDocker) -> None:
    record = containers.run(EnableNetworkIsolation=True)
    assert record["TrainingJobStatus"] == "Completed", record.get("FailureReason")
    commands = [call["arguments"][0] for call in docker.calls()]
    first = [command for command in commands if command not in {"version", "info", "ps", "network", "buildx"}]
    assert first == ["pull", "create", "start"]
    assert commands.index("ps") < commands.index("pull"), "what an earlier run left goes first"
    assert commands[-2:] == ["ps", "network"], "and what this job left goes with it"


def test_a_job_that_is_stopped_while_its_image_is_pulled_starts_nothing(
    containers: Place, docker: FakeDocker
) -> None:
    docker.answer("pull", seconds=60)
    name = containers.submit()
    pulling(containers, name)
    begin = time.monotonic()
    containers.client("sagemaker").stop_training_job(TrainingJobName=name)
    assert containers.wait(name)["SecondaryStatus"] == "Stopped"
    assert time.monotonic() - begin < 10
    assert docker.calls("create") == []


def test_the_time_limit_counts_while_an_image_is_pulled(containers: Place, docker: FakeDocker) -> None:
    docker.answer("pull", seconds=60)
    record = containers.run(StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (record["TrainingJobStatus"], record["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert docker.calls("create") == []


def test_a_job_whose_network_cannot_be_made_fails_in_one_sentence(
    containers: Place, docker: FakeDocker
) -> None:
    docker.answer("network create", err="Error response from daemon: no subnet is available", code=1)
    pair = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    checkpoint = {"S3Uri": f"s3://{BUCKET}/no-network/"}
    record = containers.run(EnableNetworkIsolation=True, ResourceConfig=pair, CheckpointConfig=checkpoint)
    assert record["FailureReason"] == "ClientError: docker network: no subnet is available"
    assert docker.calls("create") == []


def test_an_endpoint_for_containers_does_not_start_without_an_engine(
    stopped: Place, docker: FakeDocker
) -> None:
    docker.answer("version", err="Cannot connect to the Docker daemon. Is the docker daemon running?", code=1)
    said = usage_error(stopped)
    assert said.startswith("facetrain.local.sagemaker: --runner docker: Docker's engine does not answer")
    assert "Traceback" not in said
