"""Whose an image is, what its pull asks of the role, and how it fails."""

import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from facetrain.local.sagemaker import images
from facetrain.local.sagemaker.errors import JobFailed, JobStopped
from facetrain.local.sagemaker.images import IMAGE, Registry
from tests.local.fake_docker import FakeDocker

DIGEST = f"sha256:{'1' * 64}"
HERE = Registry("localhost:4566", "000000000000", "us-east-1")
OURS = "000000000000.dkr.ecr.us-east-1.amazonaws.com/team/faces"
MANIFEST = '{"config": {"digest": "sha256:' + "2" * 64 + '"}, "layers": []}'


class FakeRole:
    """A role's ECR: `denied` is what it may not do, `held` whether the image is there."""

    def __init__(self, denied: str = "", *, held: bool = True) -> None:
        self.denied, self.held = denied, held
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def client(self, service: str) -> Any:
        assert service == "ecr"
        return self

    def variables(self) -> dict[str, str]:
        return {}

    def _ask(self, action: str, query: dict[str, Any]) -> None:
        self.asked.append((action, query))
        if action == self.denied:
            message = f"not authorized to perform: ecr:{action}"
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, action)

    def get_authorization_token(self) -> dict[str, Any]:
        self._ask("GetAuthorizationToken", {})
        return {"authorizationData": [{"authorizationToken": "dG9rZW4="}]}

    def batch_get_image(self, **query: Any) -> dict[str, Any]:
        self._ask("BatchGetImage", query)
        image = {"imageId": {"imageDigest": DIGEST}, "imageManifest": MANIFEST}
        return {"images": [image] if self.held else []}

    def get_download_url_for_layer(self, **query: Any) -> None:
        self._ask("GetDownloadUrlForLayer", query)


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    return FakeDocker(tmp_path / "docker")


def fetch(docker: FakeDocker, image: str, role: FakeRole, check: Any = lambda: None) -> str:
    return images.fetch(docker.engine, HERE, image, role, check)


@pytest.mark.parametrize(
    ("image", "place"),
    [
        (f"{OURS}:v1", ("team/faces", ":v1")),
        (f"{OURS}@{DIGEST}", ("team/faces", f"@{DIGEST}")),
        (OURS, ("team/faces", ":latest")),
        (f"localhost:9/faces@{DIGEST}", ("faces", f"@{DIGEST}")),
        ("111111111111.dkr.ecr.us-east-1.amazonaws.com/faces:v1", None),
        ("000000000000.dkr.ecr.eu-west-1.amazonaws.com/faces:v1", None),
        ("docker.io/library/python:3", None),
    ],
)
def test_the_clouds_own_images_are_those_of_its_account_and_region(
    image: str, place: tuple[str, str] | None
) -> None:
    assert HERE.repository(image) == place


@pytest.mark.parametrize(
    "image", ["python:3", "localhost/x", "localhost:80", "ghcr.io/a/b:1", "localhost:4566/A"]
)
def test_what_the_service_would_not_take_is_no_image_address(image: str) -> None:
    assert IMAGE.fullmatch(image) is None


def test_a_pull_asks_ecr_with_the_role_and_logs_in_with_its_token(docker: FakeDocker) -> None:
    role = FakeRole()
    assert fetch(docker, f"{OURS}:v1", role) == f"localhost:4566/team/faces@{DIGEST}"
    assert [action for action, _ in role.asked] == [
        "GetAuthorizationToken",
        "BatchGetImage",
        "GetDownloadUrlForLayer",
    ]
    assert role.asked[1][1]["imageIds"] == [{"imageTag": "v1"}]
    (pull,) = docker.calls("pull")
    assert pull["arguments"] == ["pull", "--quiet", f"localhost:4566/team/faces@{DIGEST}"]
    assert pull["config"] == {"auths": {"localhost:4566": {"auth": "dG9rZW4="}}}
    assert not Path(pull["environment"]["DOCKER_CONFIG"]).exists()


@pytest.mark.parametrize("action", ["GetAuthorizationToken", "BatchGetImage", "GetDownloadUrlForLayer"])
def test_a_missing_permission_fails_the_job_and_names_it(docker: FakeDocker, action: str) -> None:
    with pytest.raises(
        JobFailed, match=rf"^ClientError: Cannot pull image {OURS}:v1: AccessDenied.*{action}"
    ):
        fetch(docker, f"{OURS}:v1", FakeRole(action))
    assert docker.calls("pull") == []


def test_an_image_that_is_not_there_is_not_looked_for_elsewhere(docker: FakeDocker) -> None:
    with pytest.raises(JobFailed, match=r"repository team/faces holds no image v1$"):
        fetch(docker, f"{OURS}:v1", FakeRole(held=False))
    assert docker.calls("pull") == []


OTHERS = "111111111111.dkr.ecr.us-east-1.amazonaws.com/faces:v1"


def test_another_accounts_image_is_pulled_as_the_user_would(docker: FakeDocker) -> None:
    role = FakeRole()
    assert fetch(docker, OTHERS, role) == OTHERS
    assert role.asked == []
    assert [call["arguments"] for call in docker.calls("pull")] == [["pull", "--quiet", OTHERS]]


def test_an_image_that_the_engine_holds_needs_no_pull_to_succeed(docker: FakeDocker) -> None:
    docker.answer("pull", err="Error response from daemon: no route to host", code=1)
    assert fetch(docker, OTHERS, FakeRole()) == OTHERS


def test_a_pull_that_fails_says_why_in_one_sentence(docker: FakeDocker) -> None:
    docker.answer("pull", err="progress\nError response from daemon: no space left on device\n", code=1)
    docker.answer("image inspect", err="No such image", code=1)
    with pytest.raises(JobFailed) as failed:
        fetch(docker, f"{OURS}:v1", FakeRole())
    assert str(failed.value).startswith(f"ClientError: Cannot pull image {OURS}:v1: no space left on device")
    assert "\n" not in str(failed.value)


def test_a_job_that_is_stopped_meanwhile_gives_the_pull_up_at_once(docker: FakeDocker) -> None:
    docker.answer("pull", seconds=30)

    def stopped() -> None:
        if docker.calls("pull"):
            raise JobStopped

    begin = time.monotonic()
    with pytest.raises(JobStopped):
        fetch(docker, f"{OURS}:v1", FakeRole(), stopped)
    assert time.monotonic() - begin < 10
