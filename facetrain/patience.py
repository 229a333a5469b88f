"""Trouble that passes: S3 asks for a slower pace, or is out of reach for a moment. Then it is asked again."""

import random
from collections.abc import Callable
from threading import Event, Lock
from typing import TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from facetrain.client import code

T = TypeVar("T")

# Seconds before each further try, beside the tries that boto3 makes itself: three minutes at the most.
WAITS = (1, 2, 4, 8, 15, 30, 60, 60)
_PASSING = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "503", "500"}
_AWAY = (ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError)


class Patience:
    """Asks again what failed for a reason that passes; others go on meanwhile.

    note: is told that there is waiting, once for each wait that is longer than those before. stopped: ends
    every wait, with the trouble that it was for.
    """

    def __init__(self, note: Callable[[str], None], stopped: Event):
        self._note, self._stopped = note, stopped
        self._lock = Lock()
        self._longest = -1

    def __call__(self, action: Callable[[], T], *, once: bool = False) -> T:
        """once: what may have been done, although no answer came, is not asked for again."""
        for seconds in WAITS:
            try:
                return action()
            except (BotoCoreError, ClientError) as error:
                if self._stopped.is_set() or not passes(error, answered=once):
                    raise
                self._say(error, seconds)
                # Half of it by chance, so that those who wait do not all come back at once.
                if self._stopped.wait(seconds * random.uniform(0.5, 1)):  # noqa: S311 (no secret)
                    raise
        return action()

    def _say(self, error: BotoCoreError | ClientError, seconds: int) -> None:
        with self._lock:
            is_news, self._longest = seconds > self._longest, max(seconds, self._longest)
        if is_news:
            pace = f"asks for a slower pace ({code(error)})" if isinstance(error, ClientError) else ""
            what = pace or "cannot be reached"
            self._note(f"note: S3 {what}: trying again within {seconds} s")


def passes(error: BotoCoreError | ClientError, *, answered: bool) -> bool:
    """Whether the same request may well succeed soon. answered: only where S3 itself said that it did not."""
    if isinstance(error, ClientError):
        return code(error) in _PASSING
    return isinstance(error, _AWAY) and not answered
