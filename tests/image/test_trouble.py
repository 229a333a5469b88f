"""What is said where a build or a push cannot be done: before the build where that can be known."""

import json
import os
import shutil

import pytest

from facetrain.image.trouble import explain
from tests.image.conftest import ADDRESS, ID, BuildAndPush, versions

NO_SPACE = "write /var/lib/docker/tmp/x: no space left on device"
RATE = (
    "ERROR: failed to solve: python:3.11: failed to resolve source metadata for docker.io/library/python: "
    "429 Too Many Requests - toomanyrequests: You have reached your unauthenticated pull rate limit"
)
HEAD = 'ERROR: failed to solve: failed to do request: Head "https://registry-1.docker.io/v2/library/python": '
FRONTEND = (
    "ERROR: failed to build: failed to solve: rpc error: code = Unknown desc = failed to solve with frontend "
    "dockerfile.v0: failed to create LLB definition: "
)
NO_EMULATION = "#7 0.5 exec /bin/sh: exec format error\nERROR: process did not complete: exit code: 255"
CA = "#9 2.1 SSLError('[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed')\nERROR: exit code: 1"
NO_PACKAGE = "#9 ERROR: Could not find a version that satisfies the requirement torch==2.13.0\nexit code: 1"
DENIED = (
    "denied: User: arn:aws:sts::000000000000:assumed-role/x/y is not authorized to perform: ecr:PutImage on "
    "resource: arn:aws:ecr:us-east-1:000000000000:repository/face because no identity-based policy allows it"
)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            f"#9 ERROR: {NO_SPACE}\n#10 CANCELED",
            "the disk of Docker's engine is full: `docker system df` says",
        ),
        (
            RATE,
            "the base image's registry answers no more for now: `docker login` raises Docker Hub's limit",
        ),
        (RATE, "name another base with --build-arg BASE=… (FACETRAIN_BUILD_OPTIONS keeps such options)"),
        (
            HEAD + "dial tcp: no such host",
            "the base image cannot be had: check its name, the network (Docker's engine has a proxy",
        ),
        (
            HEAD + "dial tcp: connect: connection refused",
            "the base image cannot be had: check its name",
        ),
        (HEAD + "x509: certificate signed by unknown authority", "add the company's certificate to Docker's"),
        (
            NO_EMULATION,
            "it cannot run linux/amd64 programs, which SageMaker's machines need: `docker run --privi",
        ),
        (CA, "the network's proxy has a certificate of its own: add --secret id=ca,src="),
        (NO_PACKAGE, "the build could not fetch packages: try --network=host, or --build-arg HTTPS"),
        (
            '"docker build" requires exactly 1 argument.\nSee help',
            "one name, then only options of `docker build`",
        ),
        ("unknown flag: --chase\nSee 'docker build --help'.", "that is no option of this docker's `build`"),
        (DENIED, "may not ecr:PutImage on arn:aws:ecr:us-east-1:000000000000:repository/face: ask an admin"),
        ("no basic auth credentials", "the registry did not take the login: run the command again"),
        (
            "Get https://localhost:1/v2/: connect: connection refused",
            "nothing answers there for Docker's engine",
        ),
        ("Dockerfile:3\nERROR: unknown instruction: FORM\n", "unknown instruction: FORM"),
        (
            f"#3 {FRONTEND}Dockerfile parse error line 1: unknown instruction: FORM",
            "parse error line 1: unknown",
        ),
        (
            "#4 0.410 exec /bin/bad: exec format error\nERROR: exit code: 1",
            "exec /bin/bad: exec format error: ",
        ),
        (
            "ERROR: docker: 'docker buildx build' requires 1 argument\n\nUsage:  docker",
            "one name, then only options",
        ),
        ("", "it said nothing"),
    ],
)
def test_what_docker_says_is_said_again_in_one_line_with_the_remedy(said: str, message: str) -> None:
    explained = explain(said)
    assert message in explained
    assert "\n" not in explained
    assert "rpc error" not in explained


def test_what_was_overcome_long_before_is_not_taken_for_the_cause() -> None:
    lines = [NO_PACKAGE, *(f"#9 step {number}" for number in range(50)), "ERROR: SyntaxError: invalid syntax"]
    assert explain("\n".join(lines)) == "SyntaxError: invalid syntax"


def test_a_line_that_holds_a_whole_instruction_is_cut() -> None:
    assert len(explain(f"executor failed running [/bin/sh -c {'x' * 3000}]: exit code: 1")) < 310


@pytest.mark.parametrize("command", ["build", "login", "tag", "push"])
def test_where_docker_fails_the_last_success_stays(build_and_push: BuildAndPush, command: str) -> None:
    build_and_push.uri_file.write_text("of an earlier success\n")
    build_and_push.docker.fails(command, NO_SPACE)
    ran = build_and_push("face")
    assert (ran.code, ran.out) == (1, "")
    last = ran.err.splitlines()[-1]
    assert last.startswith("build-and-push.sh: ")
    assert f"{NO_SPACE}: the disk of Docker's engine is full" in last
    assert build_and_push.uri_file.read_text() == "of an earlier success\n"
    assert not list(build_and_push.checkout.glob(".ecr*"))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            "GetAuthorizationToken",
            "these credentials may not ecr:GetAuthorizationToken on *: ask an administrator for that",
        ),
        (
            "InitiateLayerUpload",
            f"these credentials may not ecr:InitiateLayerUpload on the repository face of {ADDRESS}: ask",
        ),
        (
            "CreateRepository",
            f"there is no repository face in {ADDRESS}, and these credentials may not ecr:CreateRepository",
        ),
        ("CreateRepository", "(docs/build-and-push.md lists them), or to create it"),
        ("BatchGetImage", "these credentials may not ecr:BatchGetImage on the repository face"),
    ],
)
def test_a_missing_permission_is_named_before_anything_is_built(
    build_and_push: BuildAndPush, action: str, message: str
) -> None:
    build_and_push.ecr.denies(action)
    ran = build_and_push("face")
    assert ran.code == 1
    assert message in ran.err
    assert build_and_push.docker.called("build") == []


def test_another_error_of_ecr_keeps_its_own_words(build_and_push: BuildAndPush) -> None:
    build_and_push.ecr.refuses("CreateRepository", "KmsException", "The key is disabled")
    assert "CreateRepository: KmsException: The key is disabled" in build_and_push("face").err


def test_expired_credentials_are_said_before_anything_is_built(build_and_push: BuildAndPush) -> None:
    build_and_push.ecr.refuses(
        "GetAuthorizationToken", "ExpiredTokenException", "The security token is expired"
    )
    ran = build_and_push("face")
    assert ran.code == 1
    assert "The security token is expired: sign in again" in ran.err
    assert build_and_push.docker.called("build") == []


@pytest.mark.parametrize(
    ("unset", "message"),
    [
        (
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            "Unable to locate credentials: sign in (`aws sso login`",
        ),
        (("AWS_REGION", "AWS_DEFAULT_REGION"), "You must specify a region: set AWS_REGION"),
    ],
)
def test_no_credentials_and_no_region_are_said_before_anything_is_built(
    build_and_push: BuildAndPush, monkeypatch: pytest.MonkeyPatch, unset: tuple[str, ...], message: str
) -> None:
    for name in unset:
        monkeypatch.delenv(name)
    ran = build_and_push("face")
    assert ran.code == 1
    assert message in ran.err
    assert build_and_push.docker.called("build") == []


def test_an_image_for_another_kind_of_machine_is_not_pushed(build_and_push: BuildAndPush) -> None:
    found = [{"Id": ID, "Architecture": "arm64", "Size": 1}]
    build_and_push.docker.prints("image", json.dumps(found))
    ran = build_and_push("face")
    assert ran.code == 1
    assert "was built for arm64 and SageMaker's machines are amd64" in ran.err
    assert build_and_push.docker.called("push") == []


def test_an_engine_that_cannot_emulate_is_found_before_anything_is_built(
    build_and_push: BuildAndPush,
) -> None:
    fake = build_and_push.docker
    fake.prints("version", versions("29.0.0", architecture="arm64"))
    fake.prints("buildx", "Name: default\nPlatforms: linux/arm64, linux/arm/v7\n")
    ran = build_and_push("face")
    assert ran.code == 1
    assert "Docker's engine is arm64: it cannot run linux/amd64 programs" in ran.err
    assert fake.called("build") == []


def test_an_engine_that_emulates_builds_with_a_word_on_its_speed(build_and_push: BuildAndPush) -> None:
    fake = build_and_push.docker
    fake.prints("version", versions("29.0.0", architecture="arm64"))
    fake.prints("buildx", "Name: default\nPlatforms: linux/arm64, linux/amd64*, linux/386\n")
    ran = build_and_push("face")
    assert ran.code == 0
    assert "emulated and will be slow" in ran.err


@pytest.mark.parametrize(
    ("options", "warned"), [((), "GPU image takes about 15"), (("--build-arg", "DEVICE=cpu"), "")]
)
def test_too_little_room_is_a_warning_before_the_build(
    build_and_push: BuildAndPush, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], warned: str
) -> None:
    free = type("Usage", (), {"free": 9e9})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    ran = build_and_push("face", *options)
    assert ran.code == 0
    assert ("Warning: 9.0 GB are free" in ran.err) == bool(warned)
    assert warned in ran.err


def test_a_checkout_that_cannot_be_written_to_is_said_before_anything_is_built(
    build_and_push: BuildAndPush, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert "cannot be written to, where the result belongs" in build_and_push("face").err
    assert build_and_push.docker.calls == []


def test_an_interrupt_leaves_the_last_success_and_no_login(
    build_and_push: BuildAndPush, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    build_and_push.uri_file.write_text("of an earlier success\n")
    monkeypatch.setattr("facetrain.image.command.push", interrupt)
    ran = build_and_push("face")
    assert ran.code == 130
    assert "interrupted; ecr_image_fullname.txt is as it was" in ran.err
    assert build_and_push.uri_file.read_text() == "of an earlier success\n"
    assert not build_and_push.docker.login.exists()
