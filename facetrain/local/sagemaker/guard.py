"""Runs one training program and makes sure that nothing of it outlives its end, or the endpoint's.

    python -I -S guard.py PROGRAM ARGUMENT ...

What a container gives a job for free: when its first process ends, every other process in it ends too; and
when the engine dies, so does the container. Commands come as lines on stdin: "term" sends SIGTERM to the
program (only to it, as `docker stop` does), end of file kills everything. Exits with the program's exit code,
or with 128 + the signal's number, as Docker reports it. Standard library only: it starts in an instant.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LINUX = sys.platform == "linux"


def main(command: list[str]) -> int:
    if LINUX:
        # Orphans of the program become our children, so that `kill_everything` still finds them.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        program = subprocess.Popen(  # noqa: S603 - the endpoint's own configuration names the program
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - safe: no second thread runs yet
        )
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    threading.Thread(target=_obey, args=(program,), daemon=True).start()
    code = program.wait()
    kill_everything(program.pid)
    return code if code >= 0 else 128 - code


def _die_with_parent() -> None:
    """In the program, before it starts: if even the guard is killed, the program goes with it."""
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _obey(program: "subprocess.Popen[bytes]") -> None:
    for line in sys.stdin:
        if line.strip() == "term":
            program.terminate()
    program.kill()


def kill_everything(group: int) -> None:
    """SIGKILL what is left of the program's process tree, those that left its session included."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    while LINUX and (left := _descendants(os.getpid())):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # "pid (command) state ppid ...": the command may itself hold spaces and parentheses.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, look = [], [root]
    while look:
        below = children.get(look.pop(), [])
        found += below
        look += below
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
