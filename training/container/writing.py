"""Writing while training goes on."""

import threading
import traceback
from collections.abc import Callable

from training.container.errors import first_line

_GOES_ON = "training goes on without it"


class Writer:
    """One thing is written at a time, in a thread: who starts the next waits for the one before.

    What fails is told, and nobody is stopped by it: a run of days is worth more than one of its checkpoints.
    """

    def __init__(self, tell: Callable[[str], None]):
        self.tell = tell
        self.thread: threading.Thread | None = None

    def start(self, name: str, work: Callable[[], object]) -> None:
        """name: what a message calls it, such as "checkpoint step=3"."""
        self.wait()
        self.thread = threading.Thread(target=self._run, args=(name, work), name=name)
        self.thread.start()

    def wait(self) -> None:
        """Until nothing is being written."""
        if self.thread is not None:
            self.thread.join()
            self.thread = None

    def _run(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            self.tell(f"{name} failed: {error}: free some space or raise volume_gb; {_GOES_ON}")
        except Exception as error:  # noqa: BLE001  (nobody else would hear of it)
            self.tell("".join(traceback.format_exception(error)).rstrip())
            kind = type(error).__name__
            self.tell(
                f"{name} failed, please report it with the log: {kind}: {first_line(error)}; {_GOES_ON}"
            )
        else:
            self.tell(name)
