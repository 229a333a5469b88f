"""ECR's own answers, as its service model has them, and a registry that changes under our hands."""

import botocore.session
import pytest

from facetrain.client import Connection
from facetrain.image.engine import ImageError, find_engine
from facetrain.image.registry import digest_of, ensure_repository, logged_in, push, registry_of
from tests.cli.fake_aws import ServiceError
from tests.image.conftest import ADDRESS, DIGEST, ECR, FakeDocker, FakeEcr


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("InitiateLayerUpload", "RepositoryNotFoundException"),
        ("BatchGetImage", "RepositoryNotFoundException"),
        ("CreateRepository", "RepositoryAlreadyExistsException"),
    ],
)
def test_the_errors_that_decide_are_ecrs_own(operation: str, error: str) -> None:
    model = botocore.session.get_session().get_service_model("ecr").operation_model(operation)
    assert error in {shape.name for shape in model.error_shapes}


def test_the_address_is_the_one_that_ecr_answers(ecr: FakeEcr) -> None:
    ecr.aws.handlers[f"{ECR}.GetAuthorizationToken"] = lambda _: {
        "authorizationData": [{"proxyEndpoint": "https://000000000000.dkr.ecr.cn-north-1.amazonaws.com.cn"}]
    }
    assert registry_of(Connection()).address == "000000000000.dkr.ecr.cn-north-1.amazonaws.com.cn"


def test_a_repository_that_somebody_else_creates_meanwhile_is_used(ecr: FakeEcr) -> None:
    def created_meanwhile(body: dict[str, str]) -> dict[str, str]:
        ecr.repositories[body["repositoryName"]] = {}
        raise ServiceError("RepositoryAlreadyExistsException")

    ecr.aws.handlers[f"{ECR}.CreateRepository"] = created_meanwhile
    assert ensure_repository(registry_of(Connection()), "face")
    assert ecr.created == []


def test_a_tag_that_is_there_is_not_pushed_again(ecr: FakeEcr, docker: FakeDocker) -> None:
    ecr.repositories["face"] = {"1": DIGEST}
    registry = registry_of(Connection())
    pushed = push(find_engine(), registry, "face:1", "face", "1")
    assert (pushed.uri, pushed.digest) == (f"{ADDRESS}/face@{DIGEST}", DIGEST)
    assert docker.called("push") == []


def test_a_push_that_nobody_watches_is_quiet(ecr: FakeEcr, docker: FakeDocker) -> None:
    ecr.repositories["face"] = {}
    docker.answers("push", 'printf "%s\\n" "$3" >> "$here/pushed"')
    push(find_engine(), registry_of(Connection()), "face:1", "face", "1")
    assert docker.called("push") == [f"push --quiet {ADDRESS}/face:1"]


def test_a_push_after_which_the_registry_holds_nothing_is_an_error(ecr: FakeEcr, docker: FakeDocker) -> None:
    ecr.repositories["face"] = {}
    docker.answers("push", "true")
    with pytest.raises(ImageError, match=r"/face does not hold 1 after the push: run it again"):
        push(find_engine(), registry_of(Connection()), "face:1", "face", "1")


def test_a_login_goes_even_where_what_it_was_for_fails(ecr: FakeEcr, docker: FakeDocker) -> None:
    docker.fails("pull", "no such image")
    login = logged_in(find_engine(), registry_of(Connection()))
    with pytest.raises(ImageError, match="no such image"), login as own:
        own.run("pull", "x")
    assert own.config is not None
    assert not own.config.exists()


def test_an_unknown_tag_has_no_digest(ecr: FakeEcr) -> None:
    ecr.repositories["face"] = {"1": DIGEST}
    registry = registry_of(Connection())
    assert (digest_of(registry, "face", "1"), digest_of(registry, "face", "2")) == (DIGEST, None)
