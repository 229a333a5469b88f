"""Which docker runs and which builds, and what is said where none can."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from facetrain.image.build import build
from facetrain.image.engine import Engine, ImageError, find_engine
from tests.image.conftest import FakeDocker, versions


def another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    """A second docker, after the first on PATH."""
    fake = FakeDocker(folder)
    fake.prints("version", versions())
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{folder}")
    return fake


def test_no_docker_is_said_with_where_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match=r"no `docker` on PATH: install Docker \(https://docs.docker.com"):
        find_engine()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///run/docker.sock. Is the docker daemon running?",
            "start Docker Desktop, or `sudo systemctl start docker`",
        ),
        (
            "failed to connect to the docker API at unix:///run/docker.sock; check if the path is correct",
            "start Docker Desktop, or `sudo systemctl start docker`",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///docker.sock: "
            'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/version": dial unix: connect: permission denied',
            "this user may not talk to Docker's engine: `sudo usermod -aG docker $USER`, then log in again",
        ),
        (
            "Error response from daemon: client version 1.41 is too old. Minimum supported version is 1.44",
            "this docker program is older than its engine can talk to: install a newer one",
        ),
    ],
)
def test_an_engine_that_does_not_answer_is_said_with_the_remedy(
    docker: FakeDocker, said: str, message: str
) -> None:
    client_alone = json.dumps({"Client": {"Version": "28.0.0"}, "Server": None})
    (docker.folder / "said").write_text(said)
    docker.answers("version", f"echo '{client_alone}'; cat \"$here/said\" >&2; exit 1")
    with pytest.raises(ImageError) as raised:
        find_engine()
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_podman_under_dockers_name_is_said_to_be_no_docker(docker: FakeDocker) -> None:
    docker.prints("version", json.dumps({"Client": {"Version": "4.3.1"}}))
    with pytest.raises(ImageError, match="it knows no server: is it Podman"):
        find_engine()


def test_a_docker_that_does_not_run_gives_way_to_the_next(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    second = another(tmp_path / "second", monkeypatch)
    (docker.folder / "docker").write_bytes(b"\x7fELF for another processor")
    engine = find_engine()
    assert engine.client == engine.builder == str(second.folder / "docker")


def test_a_docker_up_to_20_builds_by_itself(docker: FakeDocker) -> None:
    path = str(docker.folder / "docker")
    assert find_engine() == Engine(path, path, "amd64")
    assert docker.called("buildx") == []


def test_a_later_docker_builds_where_it_has_buildx(docker: FakeDocker) -> None:
    docker.prints("version", versions("28.2.2"))
    docker.prints("buildx", "github.com/docker/buildx v0.24.0")
    engine = find_engine()
    assert engine.builder == engine.client


def test_where_the_first_docker_cannot_build_a_later_one_does(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    docker.prints("version", versions("28.2.2"))
    docker.fails("buildx", "docker: unknown command: docker buildx")
    second = another(tmp_path / "second", monkeypatch)
    engine = find_engine()
    assert engine.client == str(docker.folder / "docker")
    assert engine.builder == str(second.folder / "docker")


def test_where_no_docker_can_build_jobs_still_run_and_a_build_says_what_is_missing(
    docker: FakeDocker, tmp_path: Path
) -> None:
    docker.prints("version", versions("28.2.2"))
    docker.fails("buildx", "docker: unknown command: docker buildx")
    docker.prints("run", "ran\n")
    engine = find_engine()
    assert engine.run("run", "x") == "ran\n"
    with pytest.raises(ImageError, match="cannot build with BuildKit: install its plugin buildx"):
        build(engine, tmp_path, "x", progress=print)


def test_with_a_login_of_its_own_an_engine_over_tls_is_still_reached(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    docker.answers("info", 'printf "%s" "$DOCKER_CONFIG $DOCKER_CERT_PATH"')
    own = replace(find_engine(), config=tmp_path / "own")
    users = tmp_path / "users-docker"
    assert own.run("info") == f"{tmp_path}/own "
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert own.run("info") == f"{tmp_path}/own {users}"
    monkeypatch.setenv("DOCKER_CERT_PATH", "/certificates")
    assert own.run("info") == f"{tmp_path}/own /certificates"


def test_an_engine_for_windows_containers_is_refused(docker: FakeDocker) -> None:
    docker.prints("version", versions(os_name="windows"))
    with pytest.raises(
        ImageError, match="runs windows containers: switch Docker Desktop to Linux containers"
    ):
        find_engine()


def test_the_same_program_by_two_names_is_asked_once(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    docker.prints("version", versions("28.2.2"))
    docker.fails("buildx", "docker: unknown command: docker buildx")
    (tmp_path / "bin").symlink_to(docker.folder)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{tmp_path / 'bin'}")
    assert find_engine().builder is None
    assert len(docker.called("buildx")) == 1


def test_a_build_is_followed_line_by_line_and_found_in_the_engine(docker: FakeDocker, tmp_path: Path) -> None:
    docker.answers("build", "echo one; echo two >&2")
    lines: list[str] = []
    built = build(find_engine(), tmp_path, "face:1", progress=lines.append)
    assert lines == ["one", "two"]
    assert (built.tag, built.architecture, built.bytes) == ("face:1", "amd64", 1_620_000_000)


def test_a_result_that_stays_in_the_builder_is_said(docker: FakeDocker, tmp_path: Path) -> None:
    docker.fails("image", "Error: No such image: face:1")
    with pytest.raises(ImageError, match=r"No such image: face:1"):
        build(find_engine(), tmp_path, "face:1", progress=print)
