"""Runs one container and makes sure that it does not outlive the endpoint, as an engine would let it.

    python -I -S container_guard.py DOCKER CONTAINER

Attached to a container that was created before, it passes on its output and exits with its exit code.
Commands come as lines on stdin: "term" sends SIGTERM to the container's first process, end of file removes
the container, running or not. Standard library only: it starts in an instant.
"""

import subprocess
import sys
import threading
import time

PATIENCE = 60  # seconds for an engine to do what it is told
RETRIES, RETRY_SECONDS = 25, 0.2


def main(docker: str, container: str) -> int:
    attached = subprocess.Popen(  # noqa: S603 - the endpoint's own configuration names the program
        [docker, "start", "--attach", container], stdin=subprocess.DEVNULL
    )
    threading.Thread(target=_obey, args=(docker, container, attached), daemon=True).start()
    return attached.wait()


def _obey(docker: str, container: str, attached: "subprocess.Popen[bytes]") -> None:
    for line in sys.stdin:
        if line.strip() == "term":
            _terminate(docker, container, attached)
    _tell(docker, "rm", "--force", "--volumes", container)


def _terminate(docker: str, container: str, attached: "subprocess.Popen[bytes]") -> None:
    """One that is only being started takes no signals yet."""
    for _ in range(RETRIES):
        if _tell(docker, "kill", "--signal", "TERM", container) or attached.poll() is not None:
            return
        time.sleep(RETRY_SECONDS)


def _tell(docker: str, *arguments: str) -> bool:
    """Whether the engine did it. The container may have ended, or gone: its complaints are no news."""
    done = subprocess.run(  # noqa: S603
        [docker, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
