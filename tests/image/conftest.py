"""A docker program that says what a test wants, an ECR on loopback, and a checkout to build."""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from facetrain.image import __main__ as program
from tests.cli.fake_aws import FakeAws, ServiceError, serving

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
DIGEST = "sha256:" + "d" * 64
ID = "sha256:" + "1" * 64
PASSWORD = "the-password"
ECR = "AmazonEC2ContainerRegistry"
SBOM = '{"bomFormat": "CycloneDX"}'
# Says what a test wrote for its first argument, else nothing, and succeeds.
DOCKER = """\
#!/bin/sh
here=$(dirname "$0")
printf '%s\\n' "$*" >> "$here/calls"
if [ -f "$here/answers/$1" ]; then . "$here/answers/$1"; fi
"""

# Keeps what it was given, where the login lies, and what that folder says of engines.
LOGIN = """\
cat > "$here/password"
cat "$DOCKER_CONFIG/config.json" > "$here/config"
printf '%s' "$DOCKER_CONFIG" > "$here/where"
if [ -d "$DOCKER_CONFIG/contexts" ]; then cat "$DOCKER_CONFIG/contexts/name" > "$here/engines"; fi
"""


def versions(client: str = "20.10.24", architecture: str = "amd64", os_name: str = "linux") -> str:
    return json.dumps({"Client": {"Version": client}, "Server": {"Os": os_name, "Arch": architecture}})


@dataclass
class FakeDocker:
    """`docker` in a folder of its own. `answers` are shell scripts, by the command's first argument."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "answers").mkdir(parents=True)
        docker = self.folder / "docker"
        docker.write_text(DOCKER)
        docker.chmod(0o755)

    def answers(self, command: str, script: str) -> None:
        (self.folder / "answers" / command).write_text(script + "\n")

    def prints(self, command: str, text: str) -> None:
        """The command prints this to stdout."""
        (self.folder / f"{command}.out").write_text(text)
        self.answers(command, f'cat "$here/{command}.out"')

    def fails(self, command: str, text: str) -> None:
        """The command writes this to stderr and exits with 1."""
        (self.folder / f"{command}.err").write_text(text + "\n")
        self.answers(command, f'cat "$here/{command}.err" >&2; exit 1')

    @property
    def calls(self) -> list[str]:
        """The command lines so far."""
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def login(self) -> Path:
        """The folder that DOCKER_CONFIG named when somebody logged in."""
        return Path((self.folder / "where").read_text())

    @property
    def pushed(self) -> list[str]:
        log = self.folder / "pushed"
        return log.read_text().splitlines() if log.exists() else []

    def called(self, command: str) -> list[str]:
        return [call for call in self.calls if call.split()[0] == command]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    """A Docker in which everything works, and no other on PATH."""
    fake = FakeDocker(tmp_path / "docker")
    fake.prints("version", versions())
    fake.prints("info", str(tmp_path))
    fake.prints("image", json.dumps([{"Id": ID, "Architecture": "amd64", "Size": 1_620_000_000}]))
    fake.prints("create", "c0ffee\n")
    fake.answers("cp", f"printf '%s' '{SBOM}' > \"$3\"")
    fake.answers("login", LOGIN)
    fake.answers("push", 'printf "%s\\n" "$2" >> "$here/pushed"')
    monkeypatch.setenv("PATH", f"{fake.folder}:{_path_without_docker(tmp_path / 'tools')}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "users-docker"))
    monkeypatch.delenv("FACETRAIN_BUILD_OPTIONS", raising=False)
    return fake


def _path_without_docker(folder: Path) -> str:
    """A folder of what the fake and the script need, for a real docker may be in the same folder as sh."""
    folder.mkdir()
    for name in ("sh", "bash", "env", "cat", "dirname", "git", "sleep", "touch"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return str(folder)


@dataclass
class FakeEcr:
    """An account's registry: repositories, each with its tags' digests. What `docker` pushes is there."""

    aws: FakeAws
    docker: FakeDocker
    repositories: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        token = base64.b64encode(f"AWS:{PASSWORD}".encode()).decode()
        data = [{"authorizationToken": token, "proxyEndpoint": f"https://{ADDRESS}"}]
        self.created: list[dict[str, Any]] = []
        self.aws.handlers |= {
            f"{ECR}.GetAuthorizationToken": lambda _: {"authorizationData": data},
            f"{ECR}.InitiateLayerUpload": self._begin,
            f"{ECR}.CreateRepository": self._create,
            f"{ECR}.BatchGetImage": self._images,
        }

    def denies(self, action: str) -> None:
        del self.aws.handlers[f"{ECR}.{action}"]

    def refuses(self, action: str, error: str, message: str = "") -> None:
        def refuse(_: object) -> dict[str, Any]:
            raise ServiceError(error, message)

        self.aws.handlers[f"{ECR}.{action}"] = refuse

    def _tags(self, body: dict[str, Any]) -> dict[str, str]:
        if body["repositoryName"] not in self.repositories:
            raise ServiceError("RepositoryNotFoundException", "no such repository")
        return self.repositories[body["repositoryName"]]

    def _begin(self, body: dict[str, Any]) -> dict[str, Any]:
        self._tags(body)
        return {"uploadId": "1"}

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        self.created.append(body)
        self.repositories[body["repositoryName"]] = {}
        return {"repository": {"repositoryName": body["repositoryName"]}}

    def _images(self, body: dict[str, Any]) -> dict[str, Any]:
        tag = body["imageIds"][0]["imageTag"]
        pushed = f"{ADDRESS}/{body['repositoryName']}:{tag}" in self.docker.pushed
        digest = self._tags(body).get(tag) or (DIGEST if pushed else None)
        return {"images": [{"imageId": {"imageTag": tag, "imageDigest": digest}}] if digest else []}


@pytest.fixture
def ecr(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEcr]:
    """An account without repositories, which this environment leads to."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for aws in serving(FakeAws()):
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        yield FakeEcr(aws, docker)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return make_checkout(tmp_path)


def make_checkout(parent: Path) -> Path:
    """A checkout with the real script and package, and a training/ that is quickly built."""
    folder = parent / "checkout"
    (folder / "training").mkdir(parents=True)
    (folder / "build-and-push.sh").symlink_to(ROOT / "build-and-push.sh")
    (folder / "facetrain").symlink_to(ROOT / "facetrain")
    for name in ("__init__.py", "jobs", "formats"):
        (folder / "training" / name).symlink_to(ROOT / "training" / name)
    (folder / "training" / "Dockerfile").write_text(
        'FROM scratch\nCOPY sbom.json /opt/facetrain/sbom.cdx.json\nCOPY code /code\nENTRYPOINT ["/code"]\n'
    )
    (folder / "training" / ".dockerignore").write_text("*\n!code\n!sbom.json\n")
    (folder / "training" / "sbom.json").write_text(SBOM)
    (folder / "training" / "code").write_text("print(1)\n")
    return folder


@dataclass(frozen=True)
class Ran:
    """What the command answered."""

    code: int
    out: str
    err: str


class BuildAndPush:
    """`./build-and-push.sh …` without the shell, in this process."""

    def __init__(self, checkout: Path, docker: FakeDocker, ecr: FakeEcr, capture: pytest.CaptureFixture[str]):
        self.checkout, self.docker, self.ecr, self._capture = checkout, docker, ecr, capture

    def __call__(self, *arguments: str) -> Ran:
        self._capture.readouterr()
        code = program.main(arguments)
        said = self._capture.readouterr()
        return Ran(code, said.out, said.err)

    @property
    def uri_file(self) -> Path:
        return self.checkout / "ecr_image_fullname.txt"

    @property
    def sbom_file(self) -> Path:
        return self.checkout / "ecr_image_sbom.cdx.json"


@pytest.fixture
def build_and_push(
    checkout: Path,
    docker: FakeDocker,
    ecr: FakeEcr,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> BuildAndPush:
    """The command in an account and with a Docker in which nothing is missing."""
    monkeypatch.setattr(program, "CHECKOUT", checkout)
    return BuildAndPush(checkout, docker, ecr, capfd)
