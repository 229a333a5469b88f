"""How the engine is asked to run a job, and what its answers mean. tests/container asks a real one."""

import json
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from facetrain.local.sagemaker import containers
from facetrain.local.sagemaker.containers import ContainerRunner
from facetrain.local.sagemaker.errors import JobFailed
from facetrain.local.sagemaker.images import Registry
from facetrain.local.sagemaker.runner import Job, Task
from tests.local.fake_docker import FakeDocker

ALONE = Job("faces-1", "localhost:4566/faces@sha256:1", ["algo-1"], isolated=True)
PAIR = Job("faces-2", "localhost:4566/faces@sha256:1", ["algo-1", "algo-2"], isolated=True)
OPEN = Job("faces-3", "localhost:4566/faces@sha256:1", ["algo-1", "algo-2"], isolated=False)
CLOUD = Path("/clouds/mine/sagemaker")


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    return FakeDocker(tmp_path / "docker")


@pytest.fixture
def runner(docker: FakeDocker) -> ContainerRunner:
    registry = Registry("localhost:4566", "000000000000", "us-east-1")
    return ContainerRunner(docker.engine, registry, CLOUD)


def task(tmp_path: Path, job: Job = ALONE, **environment: str) -> Task:
    base = tmp_path / "algo-1" / "opt" / "ml"
    base.mkdir(parents=True)
    return Task(job, "algo-1", base, environment, lambda _line: None)


def created(docker: FakeDocker) -> list[str]:
    """The one `docker create`, its arguments."""
    (call,) = docker.calls("create")
    arguments: list[str] = call["arguments"]
    return arguments


def values(arguments: list[str], option: str) -> list[str]:
    return [after for before, after in pairwise(arguments) if before == option]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(runner: ContainerRunner, one: Task) -> tuple[int | None, str | None]:
    """The exit code of a program that ends by itself, and what the engine says of it."""
    running = runner.start(one)
    until(lambda: running.poll() is not None)
    return running.poll(), running.trouble()


def test_the_image_runs_with_train_and_its_opt_ml(
    docker: FakeDocker, runner: ContainerRunner, tmp_path: Path
) -> None:
    one = task(tmp_path)
    assert ended(runner, one)[0] == 0
    arguments = created(docker)
    assert arguments[-2:] == [ALONE.image, "train"]
    assert values(arguments, "--mount") == [f'type=bind,"source={one.base}",target=/opt/ml']
    assert values(arguments, "--label") == [f"facetrain.cloud={CLOUD}", "facetrain.job=faces-1"]
    assert values(arguments, "--pull") == ["never"]
    assert values(arguments, "--shm-size") == [str(4 << 30)]
    (attached,) = docker.commands("start")
    assert attached == f"start --attach {values(arguments, '--name')[0]}"


@pytest.mark.parametrize(
    ("job", "network", "interface"), [(ALONE, "none", "lo"), (PAIR, "own", "eth0"), (OPEN, "host", "lo")]
)
def test_hosts_see_one_another_and_what_isolation_lets_them(
    docker: FakeDocker, runner: ContainerRunner, tmp_path: Path, job: Job, network: str, interface: str
) -> None:
    with runner.together(job) as variables:
        ended(runner, task(tmp_path, job))
    arguments, made = created(docker), docker.commands("network")
    assert runner.interface(job) == interface
    assert ("MASTER_PORT" in variables) == (not job.isolated)
    if network == "own":
        (name,) = values(arguments, "--network")
        assert made[0].startswith("network create --internal ")
        assert made[0].endswith(f" {name}")
        assert values(arguments, "--network-alias") == ["algo-1"]
    else:
        assert values(arguments, "--network") == [network]
        assert values(arguments, "--add-host") == [f"{host}:127.0.0.1" for host in job.hosts]
        assert not any(line.startswith("network create") for line in made)


def test_two_clouds_jobs_of_one_name_do_not_meet(docker: FakeDocker, runner: ContainerRunner) -> None:
    other = ContainerRunner(docker.engine, Registry("localhost:1", "000000000000", "us-east-1"), Path("/b"))
    for one in (runner, other):
        with one.together(PAIR):
            pass
    first, second = (line.split()[-1] for line in docker.commands("network") if "create" in line)
    assert first != second


def test_keys_are_not_on_a_command_line_and_the_authority_is_there_for_any_user(
    docker: FakeDocker, runner: ContainerRunner, tmp_path: Path
) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("certificate")
    authority.chmod(0o600)
    keys = {"AWS_SECRET_ACCESS_KEY": "secret", "AWS_CA_BUNDLE": str(authority), "LINES": "a\nb"}
    one = task(tmp_path, OPEN, **keys)
    ended(runner, one)
    (call,) = docker.calls("create")
    assert "secret" not in " ".join(call["arguments"])
    given = values(call["arguments"], "--env")[-3:]
    assert given == ["AWS_SECRET_ACCESS_KEY", "AWS_CA_BUNDLE", "LINES=a\nb"]
    assert call["environment"]["AWS_SECRET_ACCESS_KEY"] == "secret"
    place = call["environment"]["AWS_CA_BUNDLE"]
    (mount,) = [mount for mount in values(call["arguments"], "--mount") if place in mount]
    copy = Path(mount.split('"')[1].removeprefix("source="))
    assert (copy.read_text(), copy.stat().st_mode & 0o777) == ("certificate", 0o644)


@pytest.mark.parametrize(
    ("uid", "options", "user"),
    [(0, [], []), (1234, [], [f"1234:{os.getgid()}"]), (1234, ["name=seccomp", "name=rootless"], [])],
)
def test_what_a_job_wrote_can_be_read_by_whoever_runs_the_cloud(
    docker: FakeDocker,
    runner: ContainerRunner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uid: int,
    options: list[str],
    user: list[str],
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: uid)
    docker.info(SecurityOptions=options)
    ended(runner, task(tmp_path))
    assert values(created(docker), "--user") == user


@pytest.mark.parametrize(("job", "hosts"), [(ALONE, 1), (PAIR, 2)])
def test_hosts_share_nine_tenths_of_the_memory(
    docker: FakeDocker, runner: ContainerRunner, tmp_path: Path, job: Job, hosts: int
) -> None:
    docker.info(MemTotal=20_000_000_000)
    ended(runner, task(tmp_path, job))
    assert values(created(docker), "--memory") == [str(18_000_000_000 // hosts)]


def test_a_program_that_speaks_of_another_processor_is_itself_to_blame(
    docker: FakeDocker, runner: ContainerRunner, tmp_path: Path
) -> None:
    docker.answer("start", out="step=1\nOSError: Exec format error: tool\n", code=1)
    assert ended(runner, task(tmp_path)) == (1, None)


@pytest.mark.parametrize(("job", "gpus"), [(ALONE, ["all"]), (PAIR, [])])
def test_a_job_of_one_host_gets_the_engines_gpus(
    docker: FakeDocker, runner: ContainerRunner, tmp_path: Path, job: Job, gpus: list[str]
) -> None:
    docker.info(Runtimes={"runc": {}, "nvidia": {}})
    ended(runner, task(tmp_path, job))
    assert values(created(docker), "--gpus") == gpus
    assert ("CUDA_VISIBLE_DEVICES=" in values(created(docker), "--env")) == (not gpus)


@pytest.mark.parametrize("path", ["/data, old/x", '/with "quotes"'])
def test_a_folder_may_have_any_name(path: str) -> None:
    quoted = path.replace('"', '""')
    assert containers._mount(Path(path), "/opt/ml") == f'type=bind,"source={quoted}",target=/opt/ml'


def state(**changes: object) -> str:
    return json.dumps({"Running": False, "OOMKilled": False, "Error": "", **changes})


@pytest.mark.parametrize(
    ("said", "answer", "trouble"),
    [
        ("", state(), None),
        ("", state(OOMKilled=True), "ClientError: Out of memory: the container was killed."),
        ("", state(Error='exec: "train": not found'), 'cannot start: exec: "train": not found'),
        ("exec /train: exec format error", state(), "(linux/arm64) holds programs for another processor"),
        ("", state(Running=True), "InternalServerError: the connection to the container was lost"),
    ],
)
def test_what_the_engine_knows_of_an_end_is_the_reason(
    docker: FakeDocker, runner: ContainerRunner, tmp_path: Path, said: str, answer: str, trouble: str | None
) -> None:
    docker.answer("start", err=said, code=137)
    docker.answer("inspect", out=answer)
    docker.answer("image inspect", out="arm64\n")
    code, reason = ended(runner, task(tmp_path))
    assert code == 137
    assert (reason is None) if trouble is None else (trouble in str(reason))


def test_an_engine_that_is_gone_is_the_endpoints_trouble(
    docker: FakeDocker, runner: ContainerRunner, tmp_path: Path
) -> None:
    gone = {
        "err": "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
        "code": 1,
    }
    docker.answer("start", **gone)
    docker.answer("inspect", **gone)
    code, reason = ended(runner, task(tmp_path))
    assert code == 1
    assert str(reason).startswith("InternalServerError: docker inspect: Cannot connect")


def test_a_container_that_cannot_be_made_fails_the_job(
    docker: FakeDocker, runner: ContainerRunner, tmp_path: Path
) -> None:
    docker.answer("create", err="Error response from daemon: no such image", code=125)
    with pytest.raises(JobFailed, match=r"^ClientError: docker create: no such image"):
        runner.start(task(tmp_path))


def test_orders_reach_the_container_by_its_guard(
    docker: FakeDocker, runner: ContainerRunner, tmp_path: Path
) -> None:
    docker.answer("start", seconds=3)
    running = runner.start(task(tmp_path))
    until(lambda: docker.calls("start") != [])
    running.terminate()
    until(lambda: docker.calls("kill") != [])
    (name,) = values(created(docker), "--name")
    assert docker.commands("kill") == [f"kill --signal TERM {name}"]
    running.kill()
    until(lambda: docker.calls("rm") != [])
    assert docker.commands("rm") == [f"rm --force --volumes {name}"]
    until(lambda: running.poll() is not None)


def test_a_container_that_is_only_being_started_is_told_again(
    docker: FakeDocker, runner: ContainerRunner, tmp_path: Path
) -> None:
    docker.answer("start", seconds=3)
    docker.answer("kill", err="is not running", code=1)
    running = runner.start(task(tmp_path))
    running.terminate()
    until(lambda: len(docker.calls("kill")) == 2)
    running.kill()
    docker.answer("kill")
    until(lambda: docker.calls("rm") != [])


def test_what_is_left_of_a_cloud_is_found_by_its_label(docker: FakeDocker, runner: ContainerRunner) -> None:
    docker.answer("ps", out="c1\nc2\n")
    docker.answer("network ls", out="n1\n")
    runner.sweep()
    assert docker.commands() == [
        f"ps --all --quiet --no-trunc --filter label=facetrain.cloud={CLOUD}",
        "rm --force --volumes c1 c2",
        f"network ls --quiet --no-trunc --filter label=facetrain.cloud={CLOUD}",
        "network rm n1",
    ]


def test_a_job_whose_network_cannot_go_has_ended_all_the_same(
    docker: FakeDocker,
    runner: ContainerRunner,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(containers, "REMOVE_SECONDS", 0.5)
    docker.answer("network ls", out="n1\n")
    docker.answer("network rm", err="has active endpoints", code=1)
    with runner.together(PAIR):
        pass
    assert "faces-2: not removed: docker network: has active endpoints" in caplog.text
    assert docker.commands("network").count("network rm n1") > 1, "it may only have been too early"
