"""SIGTERM, remembered until a moment at which stopping loses nothing."""

import signal
from types import FrameType

from training.container.errors import StoppedEarlyError


class Stop:
    """`requested` turns true when the service sends SIGTERM (a stop, a spot loss, the time limit)."""

    def __init__(self) -> None:
        self.requested = False
        self.waits = False

    def listen(self) -> "Stop":
        """From now on SIGTERM raises StoppedEarlyError wherever the main thread is, which must call this."""
        signal.signal(signal.SIGTERM, self._request)
        return self

    def wait(self) -> "Stop":
        """From now on it only sets the flag: there is something to save first."""
        self.waits = True
        return self

    def check(self) -> None:
        """Raises StoppedEarlyError where a stop is requested and there is nothing yet to save."""
        if self.requested:
            raise StoppedEarlyError("before training began")

    def _request(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.requested = True
        if not self.waits:
            self.check()
