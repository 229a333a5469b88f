"""How the rest of the endpoint tells a job to end."""

import threading
from typing import Literal

from facetrain.local.sagemaker.errors import EndpointStopping, JobStopped

Cause = Literal["user", "runtime", "wait", "shutdown"]


class Control:
    """Why a job should end early, if it should. The first cause stays, but a shutdown overrides it."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self._lock = threading.Lock()
        self._cause: Cause | None = None

    @property
    def cause(self) -> Cause | None:
        return self._cause

    def stop(self, cause: Cause) -> None:
        with self._lock:
            if self._cause is None or cause == "shutdown":
                self._cause = cause
        self._told.set()

    def wait(self, seconds: float) -> bool:
        """Wait to be told; whether it has been."""
        return self._told.wait(seconds)

    def check(self) -> None:
        """Between two steps of work: raise where the job should end."""
        if self._cause == "shutdown":
            raise EndpointStopping
        if self._cause is not None:
            raise JobStopped
