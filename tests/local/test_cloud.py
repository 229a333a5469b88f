"""`up`, `down`, `status` and `env`, with the real stacks deployed by the real CDK."""

import dataclasses
import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from facetrain.local import certificates, deployment, ports, services
from facetrain.local import cloud as local_cloud
from facetrain.local.certificates import TlsFiles
from facetrain.local.cloud import Cloud, LocalCloudError
from facetrain.local.home import Home
from facetrain.local.process import strays
from tests.local.fake_docker import FakeDocker
from training.jobs import contract

pytestmark = pytest.mark.cloud

SECOND = "second"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def second(facetrain_home: Path) -> Cloud:
    """A cloud beside the run's own, for tests that stop or break one; `up` mends what the last one broke."""
    return local_cloud.up(SECOND, progress=print)


def connect(to: Cloud, service: str, **changes: Any) -> Any:
    environment = to.environment()
    settings: dict[str, Any] = {
        "endpoint_url": to.sagemaker_endpoint if service == "sagemaker" else to.endpoint,
        "region_name": to.region,
        "verify": environment["AWS_CA_BUNDLE"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        "config": Config(proxies={}, retries={"total_max_attempts": 1}),
    }
    return boto3.client(service, **(settings | changes))  # type: ignore[call-overload]


def running_of(name: str, root: Path) -> list[int]:
    home = Home(root, name)
    return strays([f"{services.MARK}={home.path}/", f"SAGEMAKER_BASE_DIR={home.sagemaker}/"])


def platform_of(cloud: Cloud) -> dict[str, Any]:
    parameter = connect(cloud, "ssm").get_parameter(Name=contract.platform_parameter("local"))
    platform: dict[str, Any] = json.loads(parameter["Parameter"]["Value"])
    return platform


def test_up_deploys_the_stacks(cloud: Cloud) -> None:
    platform = platform_of(cloud)
    assert platform["images"]["arcface"] == deployment.image_uri("arcface", "process")
    buckets = {bucket["Name"] for bucket in connect(cloud, "s3").list_buckets()["Buckets"]}
    assert {platform["inputs_bucket"], platform["outputs_bucket"]} <= buckets


def test_the_log_group_that_aws_makes_for_jobs_is_there(cloud: Cloud) -> None:
    groups = connect(cloud, "logs").describe_log_groups(logGroupNamePrefix=contract.LOG_GROUP)["logGroups"]
    assert [group["logGroupName"] for group in groups] == [contract.LOG_GROUP]


def test_up_twice_is_harmless_and_takes_a_moment(cloud: Cloud) -> None:
    before, said, start = local_cloud.status().processes, list[str](), time.monotonic()
    again = local_cloud.up(progress=said.append)
    assert (again, local_cloud.status().processes, said) == (cloud, before, [])
    assert time.monotonic() - start < 5


def test_status_tells_what_runs(cloud: Cloud) -> None:
    status = local_cloud.status()
    assert (status.running, status.deployed, status.stage, status.runner) == (True, True, "local", "process")
    assert (status.endpoint, status.sagemaker_endpoint) == (cloud.endpoint, cloud.sagemaker_endpoint)
    assert json.loads(status.to_json())["processes"] == status.processes
    assert all(status.processes.values())


def test_a_cloud_that_never_was_has_a_status_and_can_be_stopped(facetrain_home: Path) -> None:
    status = local_cloud.status("never")
    assert (status.running, status.deployed, status.endpoint) == (False, False, None)
    assert local_cloud.down("never") is False
    with pytest.raises(LocalCloudError, match=r'"never" is not running: start it with .*--name never'):
        local_cloud.find("never")


def test_env_survives_a_shell_and_clears_what_would_win(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    awkward = {"AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "old", "AWS_ENDPOINT_URL_S3": "https://elsewhere"}
    for name, value in awkward.items():
        monkeypatch.setenv(name, value)
    script = (
        f"{cloud.shell_exports()}\n{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    )
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    seen = json.loads(shell.stdout)
    assert cloud.environment().items() <= seen.items()
    assert not awkward.keys() & seen.keys()


def test_env_quotes_what_a_shell_would_read(cloud: Cloud) -> None:
    odd = dataclasses.replace(cloud, _environment={"AWS_CA_BUNDLE": "/a b/$(false)'s"})
    script = f'{odd.shell_exports()}\nprintf %s "$AWS_CA_BUNDLE"'
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert shell.stdout == "/a b/$(false)'s"


def test_the_secret_key_is_in_no_repr(cloud: Cloud) -> None:
    assert cloud.environment()["AWS_SECRET_ACCESS_KEY"] not in repr(cloud)


def test_a_jobs_role_reads_inputs_and_may_not_write_them(cloud: Cloud) -> None:
    platform = platform_of(cloud)
    keys = connect(cloud, "sts").assume_role(RoleArn=platform["role_arn"], RoleSessionName="job")[
        "Credentials"
    ]
    s3 = connect(
        cloud,
        "s3",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    connect(cloud, "s3").put_object(Bucket=platform["inputs_bucket"], Key="inputs/role/a", Body=b"1")
    assert s3.get_object(Bucket=platform["inputs_bucket"], Key="inputs/role/a")["Body"].read() == b"1"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=platform["inputs_bucket"], Key="inputs/role/a", Body=b"2")


def test_two_clouds_know_nothing_of_each_other(cloud: Cloud, second: Cloud) -> None:
    assert {cloud.endpoint, cloud.sagemaker_endpoint}.isdisjoint({second.endpoint, second.sagemaker_endpoint})
    connect(second, "s3").create_bucket(Bucket="of-the-second")
    names = [bucket["Name"] for bucket in connect(cloud, "s3").list_buckets()["Buckets"]]
    assert "of-the-second" not in names
    keys = cloud.environment()
    stranger = connect(
        second,
        "sts",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        stranger.get_caller_identity()


def test_a_running_cloud_is_not_moved_to_another_port(second: Cloud) -> None:
    with pytest.raises(LocalCloudError, match=f"already runs on port {second.endpoint.rpartition(':')[2]}"):
        local_cloud.up(SECOND, port=1)


def test_down_leaves_nothing_running_and_up_finds_everything_again(
    cloud: Cloud, second: Cloud, facetrain_home: Path
) -> None:
    inputs = platform_of(second)["inputs_bucket"]
    version = connect(second, "s3").put_object(Bucket=inputs, Key="inputs/kept/a", Body=b"1")["VersionId"]
    assert running_of(SECOND, facetrain_home)

    assert local_cloud.down(SECOND) is True

    assert running_of(SECOND, facetrain_home) == []
    assert local_cloud.status().running, "the other cloud goes on"
    again = local_cloud.up(SECOND)
    assert again == second, "the same ports and keys"
    found = connect(again, "s3").get_object(Bucket=inputs, Key="inputs/kept/a", VersionId=version)
    assert found["Body"].read() == b"1"


def test_a_port_that_was_taken_meanwhile_is_replaced_and_the_launcher_still_hears(
    second: Cloud, facetrain_home: Path
) -> None:
    """The queue's address holds the port of the first deployment; what it leads to must not."""
    local_cloud.down(SECOND)
    with socket.create_server(("127.0.0.1", int(second.endpoint.rpartition(":")[2]))):
        moved = local_cloud.up(SECOND)
        assert moved.endpoint != second.endpoint
        platform = platform_of(moved)
        s3 = connect(moved, "s3")
        s3.put_object(Bucket=platform["inputs_bucket"], Key="inputs/moved/manifest.json", Body=b"{")
        wait_for(s3, platform["inputs_bucket"], "inputs/moved/manifest.rejected.json", seconds=40)
        local_cloud.down(SECOND)


def test_a_port_taken_between_choice_and_use_is_replaced(
    second: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_cloud.down(SECOND)
    with socket.create_server(("127.0.0.1", 0)) as server:
        choices = iter([[server.getsockname()[1], *ports.choose(1, [])], ports.choose(2, [])])
        monkeypatch.setattr(ports, "choose", lambda _count, _remembered: next(choices))
        assert local_cloud.up(SECOND).endpoint != f"https://localhost:{server.getsockname()[1]}"
    assert next(choices, None) is None, "both choices were needed"


def wait_for(s3: Any, bucket: str, key: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while s3.list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"] == 0:
        assert time.monotonic() < deadline, f"no s3://{bucket}/{key} within {seconds} s"
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["ministack", "sagemaker"])
def test_a_killed_process_is_started_again(second: Cloud, name: str) -> None:
    pid = local_cloud.status(SECOND).processes[name]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert services.service(Home.of(SECOND), name)._ends_within(5)
    assert local_cloud.status(SECOND).running is False
    assert local_cloud.up(SECOND) == second
    assert platform_of(second)["stage"] == "local"


def test_a_certificate_about_to_end_is_renewed_under_a_running_cloud(second: Cloud) -> None:
    tls = TlsFiles.below(second.home / "tls")
    old = dt.datetime.now(dt.UTC) - certificates.LIFETIME + dt.timedelta(days=1)
    certificates.make(tls, old)
    assert local_cloud.status(SECOND).running is False, "no client would trust it much longer"
    local_cloud.up(SECOND)
    assert certificates.is_fresh(tls, dt.datetime.now(dt.UTC))
    assert connect(second, "sts").get_caller_identity()["Account"] == services.ACCOUNT


INTERRUPTED = """
import sys
from facetrain.local import cloud
cloud.up("third", progress=lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize(
    ("at", "number"),
    [("Starting", signal.SIGINT), ("Deploying", signal.SIGINT), ("Deploying", signal.SIGTERM)],
)
def test_an_interrupt_leaves_nothing_behind(facetrain_home: Path, at: str, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith(at) for line in process.stdout)
        time.sleep(0.3)  # well into what was announced
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode != 0
    assert running_of("third", facetrain_home) == []
    assert not Home.of("third").path.exists()
    commands = subprocess.run(["ps", "-axww", "-o", "command="], capture_output=True, text=True, check=True)
    assert f"{facetrain_home}/third" not in commands.stdout


def test_a_failed_deployment_shows_why_and_leaves_nothing_running(
    facetrain_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "image_uri", lambda _algorithm, _tag: "registry/image:latest")
    with pytest.raises(LocalCloudError, match=r"(?s)cdk failed.*image_uri.*registry/image:latest"):
        local_cloud.up("third")
    assert running_of("third", facetrain_home) == []
    assert local_cloud.status("third").deployed is False
    local_cloud.down("third", delete=True)


def test_a_taken_port_that_was_asked_for_is_refused(facetrain_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(LocalCloudError, match=f"port {port} .* taken"):
            local_cloud.up("third", port=port)
    assert running_of("third", facetrain_home) == []


def test_a_runner_that_is_not_there_is_refused(facetrain_home: Path) -> None:
    with pytest.raises(LocalCloudError, match='no runner "podman": take process or docker'):
        local_cloud.up("third", runner="podman")
    with pytest.raises(LocalCloudError, match=r'there is no algorithm "yolo5" \(did you mean "yolov5"'):
        local_cloud.up("third", runner="docker", algorithms=["yolo5"])
    with pytest.raises(LocalCloudError, match="jobs that are processes have none"):
        local_cloud.up("third", algorithms=["yolov5"])


def test_a_running_cloud_goes_on_as_it_is(cloud: Cloud) -> None:
    assert local_cloud.up(runner="process") == cloud
    with pytest.raises(
        LocalCloudError, match=r"already runs, with --runner process: stop it with `facetrain local down` "
    ):
        local_cloud.up(runner="docker")
    assert local_cloud.status().running


def test_containers_without_an_engine_are_refused_before_anything_is_started(
    facetrain_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = FakeDocker(tmp_path / "bin")
    docker.answer("version", err="Cannot connect to the Docker daemon. Is the docker daemon running?", code=1)
    monkeypatch.setenv("PATH", str(docker.folder))
    with pytest.raises(LocalCloudError, match=r"(?s)does not answer.*`--runner process` needs no Docker$"):
        local_cloud.up("fourth", runner="docker")
    assert not Home.of("fourth").path.exists()


def test_down_with_delete_keeps_nothing(second: Cloud, facetrain_home: Path) -> None:
    local_cloud.down(SECOND, delete=True)
    assert not second.home.exists()
    assert running_of(SECOND, facetrain_home) == []
