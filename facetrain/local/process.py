"""Processes that outlive the command that starts them, and are never mistaken for others.

A process id alone proves nothing: after a crash or a reboot the number may be somebody else's. So a service
holds an exclusive lock on its pid file for as long as it lives (it inherits the open file; the kernel drops
the lock when it ends, however it ends), and the file's number counts only while the lock is held.
"""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from facetrain.local.errors import LocalCloudError

TAIL_LINES = 15
# The shell writes the number before the program starts and then ends, so that the service is nobody's child:
# no zombie where the starter lives on, no half-written pid file where it is interrupted.
_DETACH = 'pid_file="$1"; log="$2"; shift 2; "$@" </dev/null >>"$log" 2>&1 & echo $! >"$pid_file"'


@dataclass(frozen=True)
class Service:
    """One detached process of a cloud: its pid file (also its lock) and its log."""

    name: str
    pid_file: Path
    log: Path

    def start(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        """Start `command` in a session of its own. Raises LocalCloudError where it already runs."""
        self.log.write_text("")  # an older run's last words would be taken for this one's
        with self._lock(fcntl.LOCK_EX) as lock:
            os.set_inheritable(lock, True)
            subprocess.run(  # noqa: S603  # a list of our own, no shell reads it
                ["/bin/sh", "-c", _DETACH, "sh", str(self.pid_file), str(self.log), *command],
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                pass_fds=(lock,),
                stdout=subprocess.DEVNULL,
                check=True,
            )

    @contextmanager
    def _lock(self, kind: int) -> Iterator[int]:
        descriptor = os.open(self.pid_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            for _ in range(20):  # whoever only looks holds the lock for an instant
                try:
                    fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.01)
            else:
                raise LocalCloudError(
                    f"{self.name} already runs (process {self.pid_file.read_text().strip()})"
                )
            yield descriptor
        finally:
            os.close(descriptor)

    def pid(self) -> int | None:
        """The id of the living process, or None: nothing was started, or it has ended."""
        try:
            descriptor = os.open(self.pid_file, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._number()
        finally:
            os.close(descriptor)
        return None

    def _number(self) -> int | None:
        """The number in the pid file, which the shell writes a moment after the lock is taken."""
        for _ in range(100):
            text = self.pid_file.read_text().strip()
            if text.isdigit():
                return int(text)
            time.sleep(0.01)
        return None

    def stop(self, grace: float) -> None:
        """Ask it to end, then after `grace` seconds make it. Harmless where it does not run."""
        pid = self.pid()
        if pid is None:
            return
        if grace > 0:
            _signal(pid, signal.SIGTERM)
            if self._ends_within(grace):
                return
        _signal(pid, signal.SIGKILL)
        self._ends_within(5)

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.pid() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def tail(self) -> str:
        """The last lines of its log, to show why it died."""
        return tail(self.log)


def tail(log: Path) -> str:
    """The last TAIL_LINES lines of a log, indented; empty where there is none."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:])


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def strays(marks: Sequence[str], proc: Path = Path("/proc")) -> list[int]:
    """Processes whose environment holds a variable that begins with one of `marks` ("NAME=value").

    Reads Linux's /proc, and finds nothing where there is none: then only what has a pid file is stopped.
    """
    wanted = tuple(mark.encode() for mark in marks)
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile, or another user's
            continue
        if any(variable.startswith(wanted) for variable in variables) and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def kill_strays(marks: Sequence[str], seconds: float = 10) -> None:
    """End at once what a killed service may have left behind, and wait until it is gone.

    One that starts another while it is looked for is found on the next look.
    """
    deadline = time.monotonic() + seconds
    while (left := strays(marks)) and time.monotonic() < deadline:
        for pid in left:
            _signal(pid, signal.SIGKILL)
        time.sleep(0.02)
