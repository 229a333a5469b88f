"""The command line is refused before anything is done, with what to write instead."""

from pathlib import Path

import botocore.session
import pytest

from facetrain.errors import InputError
from facetrain.image.arguments import LONGEST, NAME, SHORTEST, parse
from tests.image.conftest import BuildAndPush


@pytest.mark.parametrize(
    "name", ["face-training", "facetrain-dev/arcface", "a1", "team.x/face_training", "a" * 256]
)
def test_names_that_ecr_takes_are_taken(name: str) -> None:
    assert parse([name]).name == name


def test_what_follows_the_name_goes_to_docker_build() -> None:
    assert parse(["face", "--build-arg", "DEVICE=cpu", "--pull"]).options == (
        "--build-arg",
        "DEVICE=cpu",
        "--pull",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing (was a variable not set?): write for example `./build-and-push.sh face-training`"),
        ([""], "empty: was a variable not set?"),
        (["  "], "empty: was a variable not set?"),
        (["$NAME"], '"$NAME" holds a placeholder that was not replaced'),
        (["${NAME}"], '"${NAME}" holds a placeholder'),
        (["team/${NAME}"], '"team/${NAME}" holds a placeholder'),
        (["<name-of-docker-image>"], '"<name-of-docker-image>" holds a placeholder'),
        (["{{name}}"], '"{{name}}" holds a placeholder'),
        (["%NAME%"], '"%NAME%" holds a placeholder'),
        (["face", "training"], 'one name, not two ("face" and "training")'),
        (["--no-cache", "face"], "the name comes first, then options"),
        (["Face_Training"], 'lower-case letters and digits, joined by . _ - or /: write "face_training"'),
        (["face training"], 'write "face-training"'),
        (["-face"], "the name comes first"),
        (["/face"], 'write "face"'),
        (["face/"], 'write "face"'),
        (["face__.x"], 'write "face-x"'),
        (["übung"], 'write "bung"'),
        (["___"], "joined by . _ - or /"),
        (["a"], '"a" is 1 long: 2 to 256 characters are allowed'),
        (["a" * 257], "is 257 long"),
        (["face:latest"], '"face:latest" holds a tag or digest, which is made from the content'),
        (["face@sha256:0"], 'holds a tag or digest, which is made from the content: write "face"'),
        (["000000000000.dkr.ecr.eu-west-1.amazonaws.com/team/face:1"], "names a registry, which is always"),
        (["000000000000.dkr.ecr.cn-north-1.amazonaws.com.cn/face"], 'write "face"'),
        (["docker.io/library/face"], 'write "library/face"'),
        (["localhost:4566/face"], 'write "face"'),
        (["face", "--platform", "linux/arm64"], "leave --platform out"),
        (["face", "--push"], "leave --push out"),
        (["face", "--output=type=tar"], "leave --output=type=tar out"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_refused_with_what_is_meant(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse(arguments)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_rule_for_names_is_ecrs_own() -> None:
    model = botocore.session.get_session().get_service_model("ecr").shape_for("RepositoryName")
    assert model.metadata == {"min": SHORTEST, "max": LONGEST, "pattern": NAME.pattern}


def test_a_refused_command_line_exits_with_2_and_nothing_is_done(build_and_push: BuildAndPush) -> None:
    ran = build_and_push("$NAME")
    assert (ran.code, ran.out) == (2, "")
    assert build_and_push.docker.calls == []
    assert build_and_push.ecr.aws.requests == []


def test_options_in_the_environment_are_checked_as_well(
    build_and_push: BuildAndPush, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACETRAIN_BUILD_OPTIONS", "--platform=linux/arm64")
    ran = build_and_push("face")
    assert ran.code == 2
    assert ran.err.startswith("FACETRAIN_BUILD_OPTIONS: leave --platform=linux/arm64 out")


def test_a_quote_that_is_not_closed_is_refused(
    build_and_push: BuildAndPush, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACETRAIN_BUILD_OPTIONS", "--build-arg 'X=1")
    ran = build_and_push("face")
    assert (ran.code, ran.err.splitlines()) == (
        2,
        ['FACETRAIN_BUILD_OPTIONS: No closing quotation in "--build-arg \'X=1"'],
    )


def test_a_folder_that_is_no_whole_checkout_is_named(build_and_push: BuildAndPush) -> None:
    (build_and_push.checkout / "training" / "Dockerfile").unlink()
    ran = build_and_push("face")
    assert ran.code == 1
    assert f"{Path('training/Dockerfile')} is missing" in ran.err
