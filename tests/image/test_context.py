"""The tag says what is in the image: it changes with that, and with nothing else."""

import os
import subprocess
from pathlib import Path

import pytest

from facetrain.image.context import _sent, build_options, fingerprint, revision


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("FACETRAIN_BUILD_OPTIONS", raising=False)
    for name in ("Dockerfile", "train", "arcface/main.py", "arcface/data/read.py", "notes.md"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (tmp_path / ".dockerignore").write_text(
        "# all but these\n*\n\n!train\n!arcface\n**/__pycache__\n**/*.pyc\n"
    )
    return tmp_path


def test_what_dockerignore_lets_in_is_sent_and_the_dockerfile_always(context: Path) -> None:
    assert _sent(context) == ["Dockerfile", "arcface/data/read.py", "arcface/main.py", "train"]


@pytest.mark.parametrize(
    ("rules", "sent"),
    [
        ("", ["Dockerfile", "a.txt", "b/a.txt", "b/c/a.md"]),
        ("a.txt", ["Dockerfile", "b/a.txt", "b/c/a.md"]),
        ("/b/", ["Dockerfile", "a.txt"]),
        ("**/*.txt", ["Dockerfile", "b/c/a.md"]),
        ("*/a.txt", ["Dockerfile", "a.txt", "b/c/a.md"]),
        ("b/**\n!b/c", ["Dockerfile", "a.txt", "b/c/a.md"]),
        ("**\n!b/?/[a-c].md", ["Dockerfile", "b/c/a.md"]),
        ("!a.txt\na.*", ["Dockerfile", "b/a.txt", "b/c/a.md"]),
    ],
)
def test_dockerignore_is_read_as_docker_reads_it(tmp_path: Path, rules: str, sent: list[str]) -> None:
    for name in ("Dockerfile", "a.txt", "b/a.txt", "b/c/a.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / ".dockerignore").write_text(rules + "\n.dockerignore\n")
    assert _sent(tmp_path) == sent


def test_a_changed_line_another_name_and_a_bit_each_give_another_tag(context: Path) -> None:
    tags = [fingerprint(context)]
    (context / "train").write_text("another")
    tags.append(fingerprint(context))
    (context / "train").chmod(0o755)
    tags.append(fingerprint(context))
    (context / "arcface" / "main.py").rename(context / "arcface" / "start.py")
    tags.append(fingerprint(context))
    (context / "Dockerfile").write_text("FROM other")
    tags.append(fingerprint(context))
    assert len(set(tags)) == len(tags)


def test_a_link_is_sent_as_a_link(context: Path) -> None:
    before = fingerprint(context)
    (context / "arcface" / "linked").symlink_to("data")
    assert "arcface/linked" in _sent(context)
    linked = fingerprint(context)
    (context / "arcface" / "linked").unlink()
    (context / "arcface" / "linked").symlink_to("elsewhere")
    assert len({before, linked, fingerprint(context)}) == 3


def test_times_caches_and_files_that_are_left_out_give_the_same_tag(context: Path) -> None:
    before = fingerprint(context)
    os.utime(context / "train", (1, 1))
    (context / "notes.md").write_text("more")
    (context / "arcface" / "__pycache__").mkdir()
    (context / "arcface" / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"x")
    assert fingerprint(context) == before


def test_options_that_change_the_image_change_the_tag(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fingerprint(context)
    cpu = fingerprint(context, ["--build-arg", "DEVICE=cpu"])
    assert cpu != plain
    monkeypatch.setenv("FACETRAIN_BUILD_OPTIONS", "--build-arg DEVICE=cpu")
    assert fingerprint(context) == cpu


def test_a_file_that_an_option_names_changes_the_tag_with_its_content(context: Path, tmp_path: Path) -> None:
    other = tmp_path / "Dockerfile.other"
    tags = []
    for text in ("FROM a", "FROM b"):
        other.write_text(text)
        tags += [fingerprint(context, ["--file", str(other)]), fingerprint(context, [f"--file={other}"])]
    assert len(set(tags)) == 4


@pytest.mark.parametrize(
    "how", ["--no-cache", "--pull=true", "--network host", "--network=host", "--secret id=ca,src=/x"]
)
def test_options_that_say_how_to_build_leave_the_tag(context: Path, how: str) -> None:
    assert fingerprint(context, how.split()) == fingerprint(context)


def test_a_tag_is_one_that_every_registry_takes(context: Path) -> None:
    tag = fingerprint(context)
    assert len(tag) == 20
    assert set(tag) <= set("0123456789abcdef")


def test_options_are_split_as_a_shell_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACETRAIN_BUILD_OPTIONS", "--network=host --secret 'id=ca,src=/a folder/ca.pem'")
    assert build_options() == ["--network=host", "--secret", "id=ca,src=/a folder/ca.pem"]


def test_the_revision_is_the_commit_and_says_whether_files_differ(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
        return subprocess.check_output(["git", "-C", str(tmp_path), *identity, *arguments], text=True).strip()

    assert revision(tmp_path) is None
    git("init", "--quiet")
    (tmp_path / "code").write_text("1")
    git("add", "code")
    git("commit", "--quiet", "--message", "first")
    commit = git("rev-parse", "HEAD")
    assert revision(tmp_path) == commit
    (tmp_path / "code").write_text("2")
    assert revision(tmp_path) == f"{commit}-dirty"
