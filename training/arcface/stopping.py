"""SIGTERM, remembered until a moment at which stopping loses nothing."""

import signal
from types import FrameType

from training.arcface.errors import StoppedError


class Stop:
    """`requested` turns true when the service sends SIGTERM (a stop, a spot loss, the time limit)."""

    def __init__(self) -> None:
        self.requested = False

    def listen(self) -> "Stop":
        """From now on SIGTERM only sets the flag. To be called in the main thread."""
        signal.signal(signal.SIGTERM, self._request)
        return self

    def check(self) -> None:
        """Raises StoppedError where a stop is requested and there is nothing yet to save."""
        if self.requested:
            raise StoppedError("before training began")

    def _request(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.requested = True
