"""Where CI's engine comes from, with stand-ins for every program that the script may call."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "docker-engine"
NEEDED = ("bash", "touch", "tail", "sleep", "nohup", "setsid", "ln")
Machine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Runs the script where PATH holds nothing but the programs that are given, by name and as shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        (folder / name).symlink_to(str(shutil.which(name)))

    def run(**programs: str) -> subprocess.CompletedProcess[str]:
        for name, body in programs.items():
            program = folder / name.replace("_", "-")
            program.write_text(f"#!{folder}/bash\ncd {tmp_path}\n{body}\n")
            program.chmod(0o755)
        return subprocess.run(
            ["bash", str(SCRIPT)],
            env={"PATH": str(folder), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_an_engine_that_answers_is_taken(machine: Machine, tmp_path: Path) -> None:
    done = machine(docker="exit 0", id="echo 1000", apt_get="touch installed")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "installed").exists()


def test_who_is_not_root_is_told_to_start_it(machine: Machine) -> None:
    done = machine(docker="exit 1", id="echo 1000")
    assert done.returncode == 1
    assert done.stderr.startswith("no Docker engine: none answers, and only root can start one")


def test_a_machine_without_apt_is_told_what_is_missing(machine: Machine) -> None:
    done = machine(id="echo 0")
    assert done.returncode == 1
    assert "no apt-get to install" in done.stderr


def test_what_apt_cannot_install_is_said(machine: Machine) -> None:
    done = machine(id="echo 0", apt_get="echo no route >&2; exit 100")
    assert done.returncode == 1
    assert done.stderr == "no route\nno Docker engine: apt-get could not install docker.io\n"


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd would be asked to start it")
def test_a_machine_without_an_engine_gets_debians_and_it_is_started(machine: Machine, tmp_path: Path) -> None:
    """The client that is there first cannot know; the one that comes with the engine answers once it runs."""
    ready = tmp_path / "ready"
    (tmp_path / "dockerd").write_text(f"#!{tmp_path}/bin/bash\ntouch {ready}\n")
    (tmp_path / "dockerd").chmod(0o755)
    done = machine(
        docker=f"[ -e {ready} ]",
        id="echo 0",
        apt_get='case "$*" in *docker.io*) ln -s ../dockerd bin/dockerd;; esac',
        pidof="exit 1",
        mountpoint="exit 1",
        cgroupfs_mount="touch mounted",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ready.exists()
    assert (tmp_path / "mounted").exists()
