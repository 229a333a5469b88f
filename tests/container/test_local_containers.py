"""Jobs of a cloud on this machine as containers: pulled, wired, stopped and cleared away by a real engine."""

import json
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facetrain.local import container_image, ports, services
from tests.container.small_images import Registry, build_foreign, build_small
from tests.local.sagemaker.conftest import (
    BUCKET,
    EXECUTION,
    IMAGE,
    PROGRAM,
    REGION,
    Place,
    allow,
    make_place,
    states,
)

if TYPE_CHECKING:
    from facetrain.image.engine import Engine

pytestmark = pytest.mark.container

REPOSITORY, TAG = "tests", "1"  # of IMAGE
FLAGS = ["--parallel", "2", "--stop-grace", "2", "--shutdown-grace", "2"]
ISOLATED = {"EnableNetworkIsolation": True}
SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 600},
}


@pytest.fixture(scope="module")
def program_image(engine: "Engine", image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image whose program does what a job's hyperparameter `script` says."""
    name = build_small(engine, image, PROGRAM, tmp_path_factory.mktemp("context"))
    yield name
    engine.run("rmi", "--force", name)


@pytest.fixture(scope="module")
def place(engine: "Engine", program_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """MiniStack and an endpoint with the docker runner, the program's image in its registry."""
    one = make_place(tmp_path_factory.mktemp("containers"), FLAGS)
    one.servers = replace(one.servers, runner="docker")
    one.servers.home.settings.write_text(json.dumps({"runner": "docker"}))
    try:
        one.servers.start_ministack()
        Registry(engine, one).push(program_image, REPOSITORY, TAG)
        one.start()
        one.client("s3").create_bucket(Bucket=BUCKET)
        yield one
    finally:
        if one.process is not None and one.process.poll() is None:
            one.stop()
        services.stop(one.servers.home)
        container_image.forget(one.servers.port)


def left(engine: "Engine", place: Place) -> list[str]:
    """Containers and networks that carry the cloud's label."""
    label = f"label=facetrain.cloud={place.state.resolve()}"
    containers = engine.run("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()
    return containers + engine.run("network", "ls", "--filter", label, "--format", "{{.Name}}").split()


def log_of(place: Place, name: str, host: str = "algo-1") -> str:
    return (place.state / "jobs" / name / host / "output.log").read_text()


def kill(place: Place) -> None:
    assert place.process is not None
    place.process.send_signal(signal.SIGKILL)
    place.process.wait()


def gone(engine: "Engine", place: Place, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while left(engine, place):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


LOOKS = """
import socket
def reaches(place):
    try:
        return bool(socket.create_connection(place, timeout=2))
    except OSError:
        return False
print(json.dumps({
    "arguments": sys.argv[1:], "pid": os.getpid(), "name": socket.gethostname(),
    "own": socket.gethostbyname(host), "job": os.environ["TRAINING_JOB_NAME"],
    "shm": os.statvfs("/dev/shm").f_frsize * os.statvfs("/dev/shm").f_blocks,
    "outside": reaches(("1.1.1.1", 53)), "machine": reaches(("127.0.0.1", int(os.environ["PORT"]))),
    "user": os.environ.get("USER_OF_TEST"), "interface": resources["network_interface_name"],
}))
(base / "model/weights").write_text("w")
"""


def test_a_container_is_what_the_service_would_run(engine: "Engine", place: Place) -> None:
    environment = {"PORT": str(place.servers.port), "USER_OF_TEST": "a\nb 'c'"}
    record = place.run(LOOKS, **ISOLATED, Environment=environment)
    assert record["TrainingJobStatus"] == "Completed", record.get("FailureReason")
    seen = json.loads(log_of(place, record["TrainingJobName"]))
    assert (seen["arguments"], seen["pid"], seen["name"]) == (["train"], 1, "algo-1")
    assert (seen["own"], seen["job"]) == ("127.0.0.1", record["TrainingJobName"])
    assert (seen["user"], seen["interface"]) == ("a\nb 'c'", "lo")
    assert (seen["outside"], seen["machine"]) == (False, False)
    assert seen["shm"] > 1 << 30
    assert f"out/{record['TrainingJobName']}/output/model.tar.gz" in place.objects("")
    assert left(engine, place) == []


def test_the_image_is_pulled_after_the_data_and_shown_as_the_service_shows_it(place: Place) -> None:
    record = place.run()
    messages = [step["StatusMessage"] for step in record["SecondaryStatusTransitions"]]
    assert messages[1:4] == [
        "Downloading input data",
        "Downloading the training image",
        "Training image download completed. Training in progress.",
    ]


@pytest.mark.parametrize("kind", ["tag", "digest", "localhost"])
def test_an_image_has_several_names(engine: "Engine", place: Place, program_image: str, kind: str) -> None:
    digest = Registry(engine, place).push(program_image, "other/name", "v1")
    names = {
        "tag": f"{services.ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/other/name:v1",
        "digest": f"{services.ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/other/name@{digest}",
        "localhost": f"localhost:{place.servers.port}/other/name@{digest}",
    }
    specification = {"TrainingImage": names[kind], "TrainingInputMode": "File"}
    record = place.run(AlgorithmSpecification=specification)
    assert record["TrainingJobStatus"] == "Completed", record.get("FailureReason")


MEETS = """
import socket, threading
other = next(name for name in hosts if name != host)
server = socket.create_server(("", 7000))
def answer():
    line, _ = server.accept()
    line.sendall(host.encode())
threading.Thread(target=answer, daemon=True).start()
for _ in range(100):
    try:
        line = socket.create_connection((other, 7000), timeout=1)
        break
    except OSError:
        time.sleep(0.1)
print(line.recv(10).decode(), resources["network_interface_name"], os.environ["OMP_NUM_THREADS"])
time.sleep(1)
"""


@pytest.mark.parametrize("isolated", [True, False])
def test_two_hosts_reach_each_other_by_name(engine: "Engine", place: Place, isolated: bool) -> None:
    script = MEETS if isolated else 'import socket; print(socket.gethostbyname("algo-2"))'
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    record = place.run(script, EnableNetworkIsolation=isolated, ResourceConfig=resources)
    assert record["TrainingJobStatus"] == "Completed", record.get("FailureReason")
    said = [log_of(place, record["TrainingJobName"], host).split() for host in ("algo-1", "algo-2")]
    if isolated:
        assert [words[:2] for words in said] == [["algo-2", "eth0"], ["algo-1", "eth0"]]
    else:
        assert said == [["127.0.0.1"]] * 2
    assert left(engine, place) == []


CALLS = """
import ssl, urllib.request
context = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
address = os.environ["AWS_ENDPOINT_URL"] + "/_ministack/health"
print(urllib.request.urlopen(address, context=context).status, len(os.environ["AWS_SESSION_TOKEN"]) > 0)
"""


def test_a_job_with_a_network_reaches_the_clouds_endpoints(place: Place) -> None:
    record = place.run(CALLS, EnableNetworkIsolation=False)
    assert log_of(place, record["TrainingJobName"]).split() == ["200", "True"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "(base / 'output').mkdir(exist_ok=True); (base / 'output/failure').write_text('no faces'); "
            "sys.exit(3)",
            "AlgorithmError: no faces, exit code: 3",
        ),
        ("sys.exit(70)", "AlgorithmError: , exit code: 70"),
    ],
)
def test_a_failure_has_the_programs_own_reason(place: Place, script: str, reason: str) -> None:
    record = place.run(script)
    assert (record["TrainingJobStatus"], record["FailureReason"]) == ("Failed", reason)


GROWS = """
while not (base / "limited").exists():
    time.sleep(0.1)
hoard = [bytes([1]) * (1 << 20) for _ in range(300)]
"""


def test_a_job_that_needs_more_memory_than_there_is_says_so(engine: "Engine", place: Place) -> None:
    name = place.training(GROWS)
    (container,) = left(engine, place)
    engine.run("update", "--memory", "100m", "--memory-swap", "100m", container)
    (place.state / "jobs" / name / "algo-1/opt/ml/limited").touch()
    assert place.wait(name)["FailureReason"].startswith(
        "ClientError: Out of memory: the container was killed"
    )


SAVES = """
def save(*_):
    (base / "checkpoints/last").write_text("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
"""


def test_stop_reaches_the_program_and_its_checkpoint_reaches_s3(engine: "Engine", place: Place) -> None:
    checkpoint = {"S3Uri": f"s3://{BUCKET}/stopped/"}
    name = place.training(SAVES + "time.sleep(60)", CheckpointConfig=checkpoint)
    place.client("sagemaker").stop_training_job(TrainingJobName=name)
    record = place.wait(name)
    assert (record["TrainingJobStatus"], record["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert place.body("stopped/last") == b"saved"
    assert left(engine, place) == []


def test_a_program_that_does_not_listen_is_killed_after_the_grace(engine: "Engine", place: Place) -> None:
    name = place.training("signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)")
    begin = time.monotonic()
    place.client("sagemaker").stop_training_job(TrainingJobName=name)
    assert place.wait(name)["TrainingJobStatus"] == "Stopped"
    assert 2 < time.monotonic() - begin < 15
    assert left(engine, place) == []


@pytest.mark.parametrize("version", [":unknown", "@sha256:" + "0" * 64])
def test_an_image_that_is_not_there_fails_the_job_by_its_name(place: Place, version: str) -> None:
    missing = IMAGE.rpartition(":")[0] + version
    record = place.run(AlgorithmSpecification={"TrainingImage": missing, "TrainingInputMode": "File"})
    assert record["FailureReason"] == (
        f"ClientError: Cannot pull image {missing}: repository tests holds no image {version[1:]}"
    )


def test_a_permission_that_was_taken_away_fails_the_job(place: Place) -> None:
    role = place.role(allow(*EXECUTION))
    busy = [place.training("time.sleep(60)") for _ in range(2)]
    name = place.submit(RoleArn=role)  # waits: two run at once
    without = {
        "Version": "2012-10-17",
        "Statement": [allow(*[action for action in EXECUTION if action != "ecr:*"])],
    }
    document = json.dumps(without)
    place.client("iam").put_role_policy(
        RoleName=role.rpartition("/")[2], PolicyName="tests", PolicyDocument=document
    )
    for other in busy:
        place.client("sagemaker").stop_training_job(TrainingJobName=other)
    reason = place.wait(name)["FailureReason"]
    assert reason.startswith(f"ClientError: Cannot pull image {IMAGE}: AccessDenied")
    assert "ecr:GetAuthorizationToken" in reason


def test_an_image_for_another_processor_fails_the_job_in_one_sentence(
    engine: "Engine", place: Place, tmp_path: Path
) -> None:
    name = build_foreign(engine, tmp_path)
    Registry(engine, place).push(name, "foreign", "1")
    engine.run("rmi", "--force", name)
    foreign = IMAGE.rpartition("/")[0] + "/foreign:1"
    record = place.run(AlgorithmSpecification={"TrainingImage": foreign, "TrainingInputMode": "File"})
    reason = record["FailureReason"]
    assert "(linux/arm64) holds programs for another processor than this machine's, linux/amd64" in reason


def test_a_container_without_the_program_says_so(engine: "Engine", place: Place, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    imported = engine.run("import", str(archive)).strip()
    Registry(engine, place).push(imported, "empty", "1")
    engine.run("rmi", "--force", imported)
    empty = IMAGE.rpartition("/")[0] + "/empty:1"
    record = place.run(AlgorithmSpecification={"TrainingImage": empty, "TrainingInputMode": "File"})
    assert record["FailureReason"].startswith("ClientError: ")
    assert '"train": executable file not found' in record["FailureReason"]


@pytest.fixture
def other(place: Place, tmp_path: Path) -> Iterator[Place]:
    """A second endpoint beside the same MiniStack, to be killed."""
    home = replace(place.servers.home, root=tmp_path)
    home.create()
    home.settings.write_text(json.dumps({"runner": "docker"}))
    servers = replace(place.servers, home=home, sagemaker_port=ports.choose(1, [])[0])
    for file in place.servers.tls.authority.parent.iterdir():
        (servers.home.tls / file.name).write_bytes(file.read_bytes())
    one = Place(servers, FLAGS, roles=place.roles)
    one.start()
    try:
        yield one
    finally:
        if one.process is not None and one.process.poll() is None:
            one.stop()
        services.stop(home)


COUNTS = """
counter = base / "checkpoints/starts"
starts = int(counter.read_text()) + 1 if counter.exists() else 1
counter.write_text(str(starts))
while starts < 2:
    time.sleep(0.1)
"""


def test_a_killed_endpoint_takes_its_containers_along_and_a_spot_job_resumes(
    engine: "Engine", other: Place
) -> None:
    lost = other.training("time.sleep(60)")
    spot = other.training(COUNTS, **SPOT, CheckpointConfig={"S3Uri": f"s3://{BUCKET}/spot/"})
    while "spot/starts" not in other.objects(""):
        time.sleep(0.1)
    assert len(left(engine, other)) == 2
    kill(other)
    assert gone(engine, other)
    other.start()
    assert other.wait(lost)["FailureReason"].startswith("InternalServerError: ")
    record = other.wait(spot)
    assert record["TrainingJobStatus"] == "Completed"
    assert "Interrupted" in states(record)
    assert other.body("spot/starts") == b"2"
    assert left(engine, other) == []


def test_what_even_a_killed_guard_leaves_goes_at_the_next_start_and_with_the_cloud(
    engine: "Engine", other: Place
) -> None:
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    for clear in (other.start, lambda: services.stop(other.servers.home)):
        name = other.training("time.sleep(60)", **ISOLATED, ResourceConfig=resources)
        assert len(left(engine, other)) == 3  # two hosts and their network
        guards = subprocess.run(
            ["pgrep", "--full", f"container_guard.py .*{name}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        kill_all = ["kill", "-STOP", *guards]  # a stopped guard does not see the endpoint's end
        subprocess.run(kill_all, check=True)
        kill(other)
        subprocess.run(["kill", "-KILL", *guards], check=True)
        assert len(left(engine, other)) == 3
        clear()
        assert gone(engine, other)


def test_an_endpoint_told_to_stop_leaves_no_container(engine: "Engine", other: Place) -> None:
    checkpoint = {"S3Uri": f"s3://{BUCKET}/told/"}
    other.training(SAVES + "time.sleep(60)", **SPOT, CheckpointConfig=checkpoint)
    assert other.stop() == 0
    assert left(engine, other) == []
    assert other.body("told/last") == b"saved"
