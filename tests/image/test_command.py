"""What a build and push does, and what is said where it cannot be done."""

import json

import pytest

from facetrain.image.context import fingerprint
from tests.image.conftest import ADDRESS, DIGEST, ID, PASSWORD, SBOM, BuildAndPush

URI = f"{ADDRESS}/face@{DIGEST}"


def test_the_uri_by_digest_is_printed_and_written_with_the_sbom_beside_it(
    build_and_push: BuildAndPush,
) -> None:
    ran = build_and_push("face")
    assert (ran.code, ran.out) == (0, f"{URI}\n"), ran.err
    assert build_and_push.uri_file.read_text() == f"{URI}\n"
    assert build_and_push.sbom_file.read_text() == SBOM
    assert f"Digest {DIGEST}" in ran.err
    assert build_and_push.docker.called("rm") == ["rm c0ffee"]
    assert sorted(path.name for path in build_and_push.checkout.iterdir()) == [
        *("build-and-push.sh", "ecr_image_fullname.txt", "ecr_image_sbom.cdx.json", "facetrain", "training")
    ]


def test_a_missing_repository_is_created_scanned_and_with_tags_that_stay(
    build_and_push: BuildAndPush,
) -> None:
    assert "Created the repository team/face" in build_and_push("team/face").err
    assert build_and_push.ecr.created == [
        {
            "repositoryName": "team/face",
            "imageTagMutability": "IMMUTABLE",
            "imageScanningConfiguration": {"scanOnPush": True},
        }
    ]


def test_a_repository_that_is_there_is_used_as_it_is(build_and_push: BuildAndPush) -> None:
    build_and_push.ecr.repositories["face"] = {}
    build_and_push.ecr.denies("CreateRepository")
    assert build_and_push("face").code == 0


def test_the_image_is_tagged_by_its_content_and_built_for_sagemakers_machines(
    build_and_push: BuildAndPush, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACETRAIN_BUILD_OPTIONS", "--network=host --build-arg 'A=1 2'")
    build_and_push.docker.answers(
        "build", 'echo "$DOCKER_BUILDKIT $BUILDX_NO_DEFAULT_ATTESTATIONS $BUILDKIT_PROGRESS"'
    )
    monkeypatch.setenv("BUILDKIT_PROGRESS", "tty")
    ran = build_and_push("face", "--build-arg", "DEVICE=cpu")
    context = build_and_push.checkout / "training"
    tag = fingerprint(context, ["--build-arg", "DEVICE=cpu"])
    given = "--network=host --build-arg A=1 2 --build-arg DEVICE=cpu"
    (built,) = build_and_push.docker.called("build")
    assert built == f"build --platform linux/amd64 --tag face:{tag} {given} {context}"
    assert build_and_push.docker.called("push") == [f"push {ADDRESS}/face:{tag}"]
    assert "1 1 plain\n" in ran.err


def test_the_password_goes_over_stdin_and_is_gone_afterwards(build_and_push: BuildAndPush) -> None:
    build_and_push("face")
    fake = build_and_push.docker
    assert fake.called("login") == [f"login --username AWS --password-stdin {ADDRESS}"]
    assert (fake.folder / "password").read_text() == PASSWORD
    assert not any(PASSWORD in call for call in fake.calls)
    assert not fake.login.exists()
    assert not (fake.folder.parent / "users-docker").exists()


def test_the_login_leads_to_the_users_own_engine_but_to_none_of_the_users_logins(
    build_and_push: BuildAndPush,
) -> None:
    users = build_and_push.docker.folder.parent / "users-docker"
    (users / "contexts").mkdir(parents=True)
    (users / "contexts" / "name").write_text("far.json")
    auths = {"auths": {"https://index.docker.io/v1/": {"auth": "x"}}, "credsStore": "desktop"}
    (users / "config.json").write_text(json.dumps({"currentContext": "far", **auths}))
    assert build_and_push("face").code == 0
    used = json.loads((build_and_push.docker.folder / "config").read_text())
    assert used == {"currentContext": "far", "auths": {ADDRESS: {}}}
    assert (build_and_push.docker.folder / "engines").read_text() == "far.json"


def test_the_same_content_is_pushed_once_and_keeps_its_digest(build_and_push: BuildAndPush) -> None:
    first, second = build_and_push("face"), build_and_push("face")
    assert (second.code, second.out) == (0, first.out)
    assert "is in the registry already: nothing is built" in second.err
    assert len(build_and_push.docker.called("push")) == len(build_and_push.docker.called("build")) == 1
    assert build_and_push.docker.called("pull") == [f"pull {URI}"]


@pytest.mark.parametrize("option", ["--no-cache", "--pull", "--pull=true"])
def test_who_asks_for_a_new_build_gets_one_under_a_tag_of_its_own(
    build_and_push: BuildAndPush, option: str
) -> None:
    build_and_push("face")
    assert build_and_push("face", option).code == 0
    first, second = build_and_push.docker.called("push")
    assert second == f"{first}-{ID.removeprefix('sha256:')[:12]}"


def test_a_changed_line_is_another_image(build_and_push: BuildAndPush) -> None:
    build_and_push("face")
    (build_and_push.checkout / "training" / "code").write_text("print(2)\n")
    build_and_push("face")
    assert len(set(build_and_push.docker.called("push"))) == 2


@pytest.mark.parametrize("command", ["create", "cp"])
def test_an_image_without_a_bill_of_materials_leaves_none_of_another(
    build_and_push: BuildAndPush, command: str
) -> None:
    build_and_push.sbom_file.write_text("of another image")
    build_and_push.docker.fails(command, "Error: No such container:path: c0ffee:/opt/facetrain/sbom.cdx.json")
    ran = build_and_push("face")
    assert ran.code == 0
    assert f"Warning: no ecr_image_sbom.cdx.json: docker {command}: " in ran.err
    assert not build_and_push.sbom_file.exists()
    assert build_and_push.uri_file.read_text() == ran.out
