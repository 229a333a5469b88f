"""The process that stands before the trainer in a container, tried as an ordinary one."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIVIDED = """
import ctypes, os, signal, sys, time
from training.container import first_process

def killed(number):
    print("killed by", number.name, flush=True)
    return 1

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # orphans become its children, as they do of PID 1
first_process.divide(killed)
"""


def start(work: str) -> "subprocess.Popen[str]":
    """A first process whose other one does `work`, once that has said its id."""
    program = DIVIDED + "print(os.getpid(), flush=True)\n" + textwrap.dedent(work)
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_it_ends_with_the_status_of_the_one_that_works() -> None:
    with start("sys.exit(7)") as process:
        assert process.wait(30) == 7


def test_a_stop_reaches_the_one_that_works_and_its_answer_counts() -> None:
    work = """
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
        print("listens", flush=True)
        time.sleep(60)
    """
    with start(work) as process:
        line(process), line(process)
        process.terminate()
        assert process.wait(30) == 143


def test_before_anybody_listens_a_stop_ends_it_at_once_even_within_a_library() -> None:
    with start("ctypes.CDLL(None).sleep(60)") as process:
        line(process)
        began = time.monotonic()
        process.terminate()
        assert process.wait(30) == 143
        assert time.monotonic() - began < 5


def test_ctrl_c_is_a_stop() -> None:
    with start("time.sleep(60)") as process:
        line(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 143


def test_it_tells_what_killed_the_one_that_works() -> None:
    with start("time.sleep(60)") as process:
        os.kill(int(line(process)), signal.SIGKILL)
        assert line(process) == "killed by SIGKILL"
        assert process.wait(30) == 1


def test_what_dead_processes_leave_behind_does_not_stay() -> None:
    orphan = """
        child = os.fork()
        if not child:
            grandchild = os.fork()
            if grandchild:
                print(grandchild, flush=True)
                os._exit(0)
            os._exit(0)
        os.waitpid(child, 0)
        time.sleep(60)
    """
    with start(orphan) as process:
        line(process)
        stat = Path("/proc", line(process), "stat")
        deadline = time.monotonic() + 20
        while stat.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        gone = not stat.exists()
        process.terminate()
    assert gone
