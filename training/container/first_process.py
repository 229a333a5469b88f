"""A container's first process: it has another one train, passes signals on to it, and buries the dead.

The kernel gives PID 1 no signal that it has no handler for, and Python runs handlers only between two of its
own instructions, not while a library is loaded. What dead processes leave behind would stay as zombies. And
where the kernel ends the trainer for want of memory, nobody else is left to say so.
"""

import os
import signal
from collections.abc import Callable, Iterator

STOPS = (signal.SIGTERM, signal.SIGINT)  # the second is Ctrl-C of `docker run`
_WATCHED = {*STOPS, signal.SIGCHLD}


def divide(killed: Callable[[signal.Signals], int]) -> None:
    """Returns in a new process alone; this one ends when that one has, with its exit status.

    killed: told of the signal that ended it, where nobody had asked for its end; gives the exit status.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)  # kept for sigwait, also those for PID 1
    child = os.fork()
    if child:
        os._exit(_status(_watch(child), killed))
    os.setpgid(0, 0)  # so that a terminal's Ctrl-C comes through the first process, and once
    for number in STOPS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)


def _watch(child: int) -> int:
    """Its exit code once it has ended, negative where a signal ended it."""
    while True:
        if signal.sigwait(_WATCHED) in STOPS:
            os.kill(child, signal.SIGTERM)  # a zombie at worst: it is buried below alone
            continue
        for pid, status in _dead():
            if pid == child:
                return os.waitstatus_to_exitcode(status)


def _dead() -> Iterator[tuple[int, int]]:
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found
    except ChildProcessError:
        return


def _status(code: int, killed: Callable[[signal.Signals], int]) -> int:
    if code >= 0:
        return code
    return 128 - code if -code in STOPS else killed(signal.Signals(-code))
