"""The one place where a job's state changes: the record is stored, then the event bus is told."""

import json
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from facetrain.local.sagemaker.control import Cause
from facetrain.local.sagemaker.errors import JobStopped, ServiceError
from facetrain.local.sagemaker.states import FINISHED, Record, advance
from facetrain.local.sagemaker.store import Store

log = logging.getLogger(__name__)

Publish = Callable[[Record, Mapping[str, str]], None]


class Registry:
    """Jobs by name. `publish` gets each new state in order and must not block."""

    def __init__(self, store: Store, publish: Publish, clock: Callable[[], float]) -> None:
        self.store, self._publish, self.clock = store, publish, clock

    def create(self, record: Record, tags: Mapping[str, str]) -> None:
        self.store.create(record, tags)
        self._publish(record, tags)

    def advance(
        self, name: str, secondary: str, reason: str | None = None, message: str | None = None
    ) -> Record:
        """Move a job on.

        Raises JobStopped where somebody has asked for its end and the step would begin new work. A job that
        was stopped while it uploaded ends as Stopped, not Completed.
        """

        def change(record: Record) -> Record:
            if record["TrainingJobStatus"] != "Stopping":
                return advance(record, secondary, self.clock(), reason, message)
            if secondary in {"Pending", "Downloading", "Training"}:
                raise JobStopped
            return advance(record, "Stopped" if secondary == "Completed" else secondary, self.clock(), reason)

        return self._changed(name, change, reason)

    def stop(self, name: str) -> bool:
        """Mark a running job as Stopping; False where it is not running."""
        done = False

        def change(record: Record) -> Record:
            nonlocal done
            done = record["TrainingJobStatus"] == "InProgress"
            return advance(record, "Stopping", self.clock()) if done else record

        record = self.store.update(name, change)
        if done:
            self._publish(record, self.store.tags(name))
        return done

    def note(self, name: str, **facts: Any) -> None:
        """Write facts into a record without a change of state."""
        self.store.update(name, lambda record: {**record, **facts})

    def finished(self, name: str) -> bool:
        record = self.store.get(name)
        return record is None or record["TrainingJobStatus"] in FINISHED

    def _changed(self, name: str, change: Callable[[Record], Record], reason: str | None) -> Record:
        record = self.store.update(name, change)
        log.info("%s: %s", name, reason or record["SecondaryStatusTransitions"][-1]["StatusMessage"])
        self._publish(record, self.store.tags(name))
        return record


def state_change(record: Record, tags: Mapping[str, str]) -> dict[str, Any]:
    """The PutEvents entry of a state: the detail is as DescribeTrainingJob, times in milliseconds.

    Form: developer guide, "Events that Amazon SageMaker AI sends to Amazon EventBridge".
    """
    times = ("CreationTime", "LastModifiedTime", "TrainingStartTime", "TrainingEndTime")
    shown = {name: int(value * 1000) if name in times else value for name, value in record.items()}
    steps = [
        {key: int(value * 1000) if key.endswith("Time") else value for key, value in step.items()}
        for step in record["SecondaryStatusTransitions"]
    ]
    detail = {**shown, "SecondaryStatusTransitions": steps, "Tags": dict(tags)}
    detail.pop("Environment", None)
    return {
        "Source": "aws.sagemaker",
        "DetailType": "SageMaker Training Job State Change",
        "Resources": [record["TrainingJobArn"]],
        "Detail": json.dumps(detail),
    }


class Publisher:
    """Sends events in their order from a thread of its own. `send` takes PutEvents' body."""

    def __init__(self, send: Callable[[Mapping[str, Any]], Any]) -> None:
        self._send = send
        self._waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __call__(self, record: Record, tags: Mapping[str, str]) -> None:
        self._waiting.put(state_change(record, tags))

    def close(self) -> None:
        """Send what waits, then end."""
        self._waiting.put(None)
        self._thread.join(timeout=3)

    def _run(self) -> None:
        while (entry := self._waiting.get()) is not None:
            try:
                self._send({"Entries": [entry]})
            except ServiceError as error:
                log.warning("a state change could not be sent to the event bus: %s", error.message)


def final_status(cause: Cause | None) -> str:
    """The secondary status in which a stopped job ends."""
    return {"runtime": "MaxRuntimeExceeded", "wait": "MaxWaitTimeExceeded"}.get(cause or "user", "Stopped")
