"""The image of a cloud of containers: built where it must be, told of in short, pushed once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from facetrain.local import container_image
from facetrain.local.clients import client
from facetrain.local.errors import LocalCloudError
from facetrain.local.services import Servers
from tests.local.fake_docker import FakeDocker

REPOSITORY = "facetrain-local/arcface"
BUILD = """#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 4.1kB done
#5 [system 1/3] FROM docker.io/library/python:3.11-slim-bookworm
#6 [packages 3/4] RUN python3 -m venv /opt/venv     && pip install --requirement requirements.txt
#6 12.1 Collecting torch==2.13.0
#6 [packages 3/4] RUN python3 -m venv /opt/venv     && pip install --requirement requirements.txt
#6 DONE 61.2s
"""
MANIFEST = '{"schemaVersion": 2, "config": {"digest": "sha256:0"}, "layers": []}'


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    return FakeDocker(tmp_path / "docker")


@pytest.fixture
def repository(gateway: Servers) -> Iterator[Servers]:
    ecr = client(gateway, "ecr")
    ecr.create_repository(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")
    yield gateway
    ecr.delete_repository(repositoryName=REPOSITORY, force=True)


def test_of_a_build_each_step_is_told_once_and_in_one_line() -> None:
    said = list[str]()
    read = container_image.steps(said.append)
    for line in BUILD.splitlines():
        read(line)
    assert said == [
        "  system 1/3 FROM docker.io/library/python:3.11-slim-bookworm",
        "  packages 3/4 RUN python3 -m venv /opt/venv && pip install --requirement requirements.txt",
    ]


def test_an_image_that_the_engine_holds_is_not_built_again(docker: FakeDocker, tmp_path: Path) -> None:
    docker.answer("image inspect", out='[{"Id": "sha256:1", "Architecture": "amd64", "Size": 1}]')
    said = list[str]()
    container_image.ensure_built(docker.engine, tmp_path, "arcface", "abc", said.append)
    assert (docker.commands(), said) == (["image inspect facetrain-arcface:abc"], [])


def test_a_build_that_fails_is_one_sentence(docker: FakeDocker, tmp_path: Path) -> None:
    docker.answer("image inspect", err="No such image", code=1)
    docker.answer("build", out="#1 [a 1/1] RUN x\nfailed to solve: no space left on device\n", code=1)
    said = list[str]()
    with pytest.raises(LocalCloudError, match="no space left on device"):
        container_image.ensure_built(docker.engine, tmp_path, "arcface", "abc", said.append)
    assert said == ["Building the image facetrain-arcface:abc (minutes, the first time)", "  a 1/1 RUN x"]
    (build,) = docker.calls("build")
    assert "--target arcface" in " ".join(build["arguments"])


def test_an_image_that_the_registry_holds_is_not_pushed_again(
    docker: FakeDocker, repository: Servers
) -> None:
    client(repository, "ecr").put_image(repositoryName=REPOSITORY, imageManifest=MANIFEST, imageTag="abc")
    said = list[str]()
    container_image.ensure_pushed(docker.engine, repository, "arcface", "abc", said.append)
    assert (docker.commands(), said) == ([], [])


def test_a_push_goes_to_the_clouds_own_registry_with_a_login_of_its_own(
    docker: FakeDocker, repository: Servers
) -> None:
    said = list[str]()
    with pytest.raises(
        LocalCloudError, match="does not hold abc after the push"
    ):  # this docker sends nothing
        container_image.ensure_pushed(docker.engine, repository, "arcface", "abc", said.append)
    place = f"localhost:{repository.port}/{REPOSITORY}:abc"
    assert said == [f"Pushing the image to {place}"]
    (login,) = docker.calls("login")
    assert login["arguments"][-1] == f"localhost:{repository.port}"
    assert docker.commands("tag") == [f"tag facetrain-arcface:abc {place}"]
    (push,) = docker.calls("push")
    assert push["environment"]["DOCKER_CONFIG"] == login["environment"]["DOCKER_CONFIG"]


def test_a_deleted_clouds_images_are_forgotten_and_no_others(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.answer("version", out='{"Client": {"Version": "20.10"}, "Server": {"Arch": "amd64"}}')
    rows = [
        "localhost:4566/pulled <none> sha256:1",
        "localhost:4566/pushed v1 sha256:2",
        "localhost:45667/other v1 sha256:1",
        "facetrain-arcface abc <none>",
    ]
    docker.answer("images", out="\n".join(rows) + "\n")
    docker.answer("rmi", err="No such image", code=1)
    monkeypatch.setenv("PATH", str(docker.folder))
    container_image.forget(4566)
    assert docker.commands("rmi") == [
        "rmi localhost:4566/pulled@sha256:1",
        "rmi localhost:4566/pushed:v1",
        "rmi localhost:4566/pushed@sha256:2",
    ]


def test_an_engine_that_does_not_answer_leaves_processes(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.answer("version", err="permission denied while trying to connect", code=1)
    monkeypatch.setenv("PATH", str(docker.folder))
    with pytest.raises(LocalCloudError, match=r"permission denied.*; `--runner process` needs no Docker"):
        container_image.engine()


def test_the_tag_changes_with_the_sources_and_the_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "Dockerfile").write_text("FROM a")
    monkeypatch.setenv("FACETRAIN_BUILD_OPTIONS", "")
    first = container_image.tag(tmp_path)
    monkeypatch.setenv("FACETRAIN_BUILD_OPTIONS", "--build-arg DEVICE=cpu")
    second = container_image.tag(tmp_path)
    (tmp_path / "training" / "Dockerfile").write_text("FROM b")
    assert len({first, second, container_image.tag(tmp_path)}) == 3
