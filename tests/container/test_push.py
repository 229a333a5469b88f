"""`./build-and-push.sh` with a real engine, against the registry of a cloud on this machine.

The image is a tiny one: test_training_job.py pushes the one that jobs run.
"""

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from facetrain.client import Connection
from facetrain.image.engine import Engine, ImageError
from facetrain.image.registry import Registry, logged_in, registry_of
from facetrain.local import services
from facetrain.local.clients import aws_environment
from tests.image.conftest import SBOM, make_checkout
from tests.local.conftest import make_servers

pytestmark = pytest.mark.container

NAME, OTHER, PAGES = "team/face-training", "team/other", "face-training"  # the last: of the page's policy


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A cloud without stacks: its registry is what is needed."""
    servers = make_servers(tmp_path_factory.mktemp("cloud"))
    try:
        servers.start_ministack()
        yield Connection(aws_environment(servers))
    finally:
        services.stop(servers.home)


@pytest.fixture(scope="module")
def registry(connection: Connection, engine: Engine) -> Iterator[Registry]:
    found = registry_of(connection)
    yield found
    names = "{{.Repository}}:{{.Tag}}\n{{.Repository}}@{{.Digest}}"
    held = engine.run("image", "ls", "--digests", "--format", names).split("\n")
    ours = (f"{found.address}/", *(f"{name}:" for name in (NAME, OTHER, PAGES)))
    # By name and not by id: the same image may have others' names as well.
    for name in held:
        if name.startswith(ours) and not name.endswith("<none>"):
            with suppress(ImageError):  # a repository's digest goes with its last tag
                engine.run("image", "rm", name)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    made = make_checkout(tmp_path)
    (made / ".venv").symlink_to(sys.prefix)
    return made


def build_and_push(
    checkout: Path, caller: Registry | Mapping[str, str], *options: str, name: str = NAME
) -> subprocess.CompletedProcess[str]:
    """The script, as after `eval "$(facetrain local env)"`; none of the real image's options."""
    environment = caller.connection.environment if isinstance(caller, Registry) else caller
    users = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FACETRAIN_"))}
    return subprocess.run(
        [str(checkout / "build-and-push.sh"), name, *options],
        env={**users, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def uri_of(checkout: Path) -> str:
    return (checkout / "ecr_image_fullname.txt").read_text().removesuffix("\n")


def test_what_was_pushed_can_be_pulled_by_its_digest_where_it_is_not_held(
    checkout: Path, registry: Registry, engine: Engine
) -> None:
    ran = build_and_push(checkout, registry)
    assert ran.returncode == 0, ran.stderr
    uri = uri_of(checkout)
    assert ran.stdout == f"{uri}\n"
    assert re.fullmatch(rf"{registry.address}/{NAME}@sha256:[0-9a-f]{{64}}", uri)
    assert json.loads((checkout / "ecr_image_sbom.cdx.json").read_text()) == json.loads(SBOM)
    (repository,) = registry.ecr.describe_repositories(repositoryNames=[NAME])["repositories"]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}

    held = engine.run("image", "inspect", "--format", "{{.Id}}", uri).strip()
    engine.run("image", "rm", "--force", held)
    with logged_in(engine, registry) as own:
        own.run("pull", uri)
    assert engine.run("image", "inspect", "--format", "{{.Id}}", uri).strip() == held


def test_the_same_content_has_the_same_digest_even_where_the_engine_has_forgotten_it(
    checkout: Path, registry: Registry, engine: Engine
) -> None:
    assert build_and_push(checkout, registry).returncode == 0
    first = uri_of(checkout)
    engine.run("image", "rm", "--force", engine.run("image", "inspect", "--format", "{{.Id}}", first).strip())
    (checkout / "ecr_image_sbom.cdx.json").unlink()
    again = build_and_push(checkout, registry)
    assert again.returncode == 0, again.stderr
    assert uri_of(checkout) == first
    assert (checkout / "ecr_image_sbom.cdx.json").exists()


def test_a_changed_line_gives_another_digest_and_sends_only_its_own_layer(
    checkout: Path, registry: Registry
) -> None:
    assert build_and_push(checkout, registry).returncode == 0
    first = uri_of(checkout)
    (checkout / "training" / "code").write_text(f"print({os.getpid()})\n")
    ran = build_and_push(checkout, registry)
    assert ran.returncode == 0, ran.stderr
    assert uri_of(checkout) != first
    assert len(re.findall(r"^\w+: Layer already exists", ran.stderr, re.M)) == 1
    assert len(re.findall(r"^\w+: Pushed", ran.stderr, re.M)) == 1


def test_a_build_anew_goes_into_the_same_repository_whose_tags_never_move(
    checkout: Path, registry: Registry
) -> None:
    assert build_and_push(checkout, registry).returncode == 0
    before = registry.ecr.list_images(repositoryName=NAME)["imageIds"]
    ran = build_and_push(checkout, registry, "--no-cache")
    assert ran.returncode == 0, ran.stderr
    after = registry.ecr.list_images(repositoryName=NAME)["imageIds"]
    assert all(image in after for image in before)


def test_a_build_that_fails_says_why_and_leaves_the_last_success(checkout: Path, registry: Registry) -> None:
    assert build_and_push(checkout, registry).returncode == 0
    first = uri_of(checkout)
    (checkout / "training" / "Dockerfile").write_text("FROM scratch\nCOPY missing /missing\n")
    ran = build_and_push(checkout, registry)
    assert ran.returncode == 1
    assert "build-and-push.sh: the image could not be built: " in ran.stderr.splitlines()[-1]
    assert "missing" in ran.stderr.splitlines()[-1]
    assert uri_of(checkout) == first


def test_the_permissions_on_the_page_are_enough_and_without_one_it_is_named(
    checkout: Path, registry: Registry
) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "build-and-push.md").read_text()
    policy = json.loads(page.partition("```jsonc\n")[2].partition("```")[0])
    user = person(registry.connection, policy)
    assert build_and_push(checkout, user, name=PAGES).returncode == 0
    (checkout / "training" / "code").write_text("print(3)\n")
    refused = build_and_push(checkout, user, name="face-other")
    assert refused.returncode == 1
    assert "these credentials may not ecr:InitiateLayerUpload on the repository face-other" in refused.stderr

    policy["Statement"].pop()
    registry.ecr.delete_repository(repositoryName=PAGES, force=True)
    refused = build_and_push(checkout, person(registry.connection, policy), name=PAGES)
    assert refused.returncode == 1
    assert "there is no repository face-training in " in refused.stderr
    assert "these credentials may not ecr:CreateRepository" in refused.stderr


def person(connection: Connection, policy: Mapping[str, Any]) -> Mapping[str, str]:
    """The environment of a new user who has this policy and no other."""
    iam, name = connection.client("iam"), f"person-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="page", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        **connection.environment,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


def test_the_users_docker_learns_no_password(checkout: Path, registry: Registry, engine: Engine) -> None:
    users = engine.users_configuration() / "config.json"
    before = users.read_bytes() if users.exists() else None
    assert build_and_push(checkout, registry, name=OTHER).returncode == 0
    assert (users.read_bytes() if users.exists() else None) == before
