"""A guard for each program of a job: it passes our orders on, and ends the program when we are gone."""

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

READ_SECONDS = 5  # for the rest of an ended program's output; only a lost process could keep it open longer
LINE_LIMIT = 256 * 1024 - 26  # CloudWatch Logs' limit for one event, in bytes


class Guarded:
    """A guard with the program it was given, and the thread that reads the program's output.

    guard: a script that takes the program's command as its arguments, "term" as a line on stdin, and the
    end of stdin as the order to end the program at once.
    """

    def __init__(
        self,
        guard: Path,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        log: Callable[[str], None],
    ) -> None:
        whole = [sys.executable, "-I", "-S", str(guard), *command]
        try:
            self._guard = subprocess.Popen(  # noqa: S603 - the endpoint's own configuration names the program
                whole,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the endpoint's terminal is for the endpoint alone
            )
        except OSError as error:
            raise OSError(error.errno, f"cannot start {shlex.join(whole)}: {error.strerror}") from error
        self._reader = threading.Thread(target=self._read, args=(log,), daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        code = self._guard.poll()
        if code is None:
            return None
        self._reader.join(timeout=READ_SECONDS)
        if self._guard.stdin:
            self._guard.stdin.close()
        return code

    def trouble(self) -> str | None:
        return None

    def terminate(self) -> None:
        self._tell(b"term\n")

    def kill(self) -> None:
        if self._guard.stdin and not self._guard.stdin.closed:
            self._guard.stdin.close()

    def _tell(self, command: bytes) -> None:
        stdin = self._guard.stdin
        if stdin is None or stdin.closed:
            return
        try:
            stdin.write(command)
            stdin.flush()
        except BrokenPipeError:
            os.waitid(os.P_PID, self._guard.pid, os.WEXITED | os.WNOWAIT)  # it ended by itself meanwhile

    def _read(self, log: Callable[[str], None]) -> None:
        assert self._guard.stdout is not None
        with self._guard.stdout as stdout:
            while line := stdout.readline(LINE_LIMIT):
                log(line.decode("utf-8", "replace").rstrip("\r\n"))
