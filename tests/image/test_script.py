"""The shell script itself, as a user runs it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.image.conftest import ADDRESS, DIGEST, FakeDocker, FakeEcr

USERS = f"{ADDRESS}/face@{DIGEST}\n"


@pytest.fixture
def python_on_path(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`python3` is the one that runs the tests: it has this project's packages."""
    folder = tmp_path / "python"
    folder.mkdir()
    (folder / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{folder}")
    return folder


def run(checkout: Path, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(checkout / "build-and-push.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder)


def test_it_works_from_any_folder_and_writes_into_its_own_checkout(
    checkout: Path, docker: FakeDocker, ecr: FakeEcr, python_on_path: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ran = run(checkout, "face", folder=elsewhere)
    assert (ran.returncode, ran.stdout) == (0, USERS), ran.stderr
    assert (checkout / "ecr_image_fullname.txt").read_text() == USERS
    assert list(elsewhere.iterdir()) == []


def test_the_checkouts_own_python_comes_first(
    checkout: Path, docker: FakeDocker, ecr: FakeEcr, python_on_path: Path
) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").write_text((python_on_path / "python3").read_text())
    (checkout / ".venv" / "bin" / "python").chmod(0o755)
    (python_on_path / "python3").unlink()
    assert run(checkout, "face").stdout == USERS


def test_help_says_how_and_asks_nobody(checkout: Path, docker: FakeDocker, python_on_path: Path) -> None:
    ran = run(checkout, "--help")
    assert ran.returncode == 0
    assert ran.stdout.startswith(
        "usage: ./build-and-push.sh <name-of-docker-image> [options of docker build]"
    )
    assert docker.calls == []


def test_no_argument_and_an_unset_variable_are_refused(checkout: Path, python_on_path: Path) -> None:
    for arguments in ([], [""]):
        ran = run(checkout, *arguments)
        assert ran.returncode == 2
        assert ran.stderr.startswith("name-of-docker-image: ")
        assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("python", ["none", "bare"])
def test_without_the_projects_packages_it_says_what_to_run(
    checkout: Path, docker: FakeDocker, tmp_path: Path, python: str
) -> None:
    if python == "bare":  # a Python, but nothing of ours is installed
        bare = docker.folder / "python3"
        bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "$@"\n')
        bare.chmod(0o755)
    ran = run(checkout, "face")
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        f"build-and-push.sh: no Python 3.11 with this project's packages: run `make setup` in {checkout}"
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_push_ends_it_and_leaves_no_login(
    checkout: Path, docker: FakeDocker, ecr: FakeEcr, python_on_path: Path, number: int, code: int
) -> None:
    (checkout / "ecr_image_fullname.txt").write_text("of an earlier success\n")
    docker.answers("push", 'touch "$here/pushing"; exec sleep 60')
    process = subprocess.Popen(
        [checkout / "build-and-push.sh", "face"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 30
    while not (docker.folder / "pushing").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does, and a supervisor
    said = process.communicate(timeout=30)[1]
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert not docker.login.exists()
    assert (checkout / "ecr_image_fullname.txt").read_text() == "of an earlier success\n"


def test_it_is_plain_bash(tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "build-and-push.sh"
    assert script.stat().st_mode & 0o111 == 0o111
    bash = shutil.which("bash")
    assert bash is not None
    assert subprocess.run([bash, "-n", script], check=False).returncode == 0
