"""Programs and their guard: exit codes, signals, and that nothing outlives a program or the endpoint."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from facetrain.local.sagemaker.processes import ProcessRunner
from facetrain.local.sagemaker.runner import Job, Running, Task
from tests.local.sagemaker.conftest import alive

JOB = Job("job", "image", ["algo-1"], isolated=True)
LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has subreapers: elsewhere the session is killed"
)
FORK_OUT_OF_THE_SESSION = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)
print(child.pid, flush=True)
"""


class Started:
    """A Python program run as a job's, its output, and the wait for its end."""

    def __init__(self, folder: Path, script: str, **environment: str) -> None:
        self.lines: list[str] = []
        program = folder / "train.py"
        program.write_text(script)
        base = folder / "opt" / "ml"
        base.mkdir(parents=True)
        runner = ProcessRunner({"image": program}, os.environ)
        self.running: Running = runner.start(Task(JOB, "algo-1", base, environment, self.lines.append))

    def until(self, holds: Callable[[], bool], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def end(self) -> int | None:
        self.until(lambda: self.running.poll() is not None)
        return self.running.poll()


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("", 0),
        ("raise SystemExit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137),
    ],
)
def test_an_exit_code_is_what_docker_would_report(tmp_path: Path, script: str, code: int) -> None:
    assert Started(tmp_path, script).end() == code


def test_a_program_that_cannot_start_says_so_and_ends_with_126(tmp_path: Path) -> None:
    program = tmp_path / "train"
    program.write_text("#!/does/not/exist\n")  # not executable either
    (tmp_path / "opt/ml").mkdir(parents=True)
    lines: list[str] = []
    runner = ProcessRunner({"image": program}, os.environ)
    running = runner.start(Task(JOB, "algo-1", tmp_path / "opt/ml", {}, lines.append))
    while running.poll() is None:
        time.sleep(0.01)
    assert running.poll() == 126
    assert "cannot run" in lines[0]


def test_a_program_is_called_with_train_and_knows_its_base(tmp_path: Path) -> None:
    started = Started(tmp_path, "import os, sys; print(sys.argv[1:], os.environ['SAGEMAKER_BASE_DIR'])")
    started.end()
    assert started.lines == [f"['train'] {tmp_path}/opt/ml"]


def test_a_program_sees_nothing_of_the_endpoints_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACETRAIN_BRIDGE_TOKEN", "secret")
    started = Started(tmp_path, "import os; print(sorted(os.environ))", EPOCHS="3")
    started.end()
    assert "FACETRAIN_BRIDGE_TOKEN" not in started.lines[0]
    assert "EPOCHS" in started.lines[0]


def test_output_that_is_not_utf8_and_a_last_line_without_an_end_are_kept(tmp_path: Path) -> None:
    started = Started(tmp_path, r"import sys; sys.stdout.buffer.write(b'a\xffb\nlast')")
    started.end()
    assert started.lines == ["a\ufffdb", "last"]


def test_terminate_reaches_the_program_alone(tmp_path: Path) -> None:
    script = """
import signal, subprocess, sys, time
sleep = "import time; time.sleep(0.5); print('child ended by itself')"
child = subprocess.Popen([sys.executable, "-c", sleep])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(child.wait()))
print("ready", flush=True)
time.sleep(60)
"""
    started = Started(tmp_path, script)
    started.until(lambda: "ready" in started.lines)
    started.running.terminate()
    assert started.end() == 0
    assert "child ended by itself" in started.lines


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has subreapers: elsewhere the session is killed"
)
def test_what_a_program_left_behind_ends_with_it(tmp_path: Path) -> None:
    started = Started(tmp_path, FORK_OUT_OF_THE_SESSION)
    assert started.end() == 0
    assert not alive(int(started.lines[0]))


def test_kill_ends_a_program_that_ignores_sigterm(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    started = Started(tmp_path, script)
    started.until(lambda: "ready" in started.lines)
    started.running.terminate()
    started.running.kill()
    assert started.end() == 137


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has subreapers: elsewhere the session is killed"
)
def test_nothing_survives_the_sudden_end_of_the_endpoint(tmp_path: Path) -> None:
    """A stand-in endpoint starts a program that starts another in a session of its own, and is killed."""
    (tmp_path / "train.py").write_text(FORK_OUT_OF_THE_SESSION + "import time; time.sleep(60)")
    (tmp_path / "opt/ml").mkdir(parents=True)
    endpoint = f"""
import os, time
from pathlib import Path
from facetrain.local.sagemaker.processes import ProcessRunner
from facetrain.local.sagemaker.runner import Job, Task
def show(line): print(line, flush=True)
base = Path({str(tmp_path / "opt/ml")!r})
runner = ProcessRunner({{"image": Path({str(tmp_path / "train.py")!r})}}, os.environ)
runner.start(Task(Job("job", "image", ["algo-1"], True), "algo-1", base, {{}}, show))
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", endpoint], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert alive(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 5
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.stdout.close()
