"""The queue: a few jobs run at once, the others wait their turn in the order they came."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from facetrain.local.sagemaker import folders
from facetrain.local.sagemaker.control import Cause, Control
from facetrain.local.sagemaker.errors import JobStopped
from facetrain.local.sagemaker.lifecycle import INTERNAL_ERROR, Lifecycle, Workshop
from facetrain.local.sagemaker.registry import final_status
from facetrain.local.sagemaker.states import FINISHED, Record

log = logging.getLogger(__name__)


class Jobs:
    """Starts, stops and resumes jobs. `parallel` is how many may run at once."""

    def __init__(self, shop: Workshop, parallel: int) -> None:
        self._shop, self._registry = shop, shop.registry
        self._change = threading.Condition()
        self._waiting: deque[str] = deque()
        self._running: dict[str, Control] = {}
        self._open = True
        self._unfinished = [r for r in self._registry.store.all() if r["TrainingJobStatus"] not in FINISHED]
        self._workers = [threading.Thread(target=self._work, name=f"job-{n}") for n in range(parallel)]

    def start(self) -> None:
        """Take up what an earlier run of the endpoint left, then work."""
        for record in sorted(self._unfinished, key=lambda record: record["CreationTime"]):
            self._recover(record)
        with self._change:
            for worker in self._workers if self._open else ():
                worker.start()

    def submit(self, name: str) -> None:
        """Queue a job that the registry holds; Pending where it has to wait."""
        with self._change:
            if len(self._running) + len(self._waiting) >= len(self._workers):
                self._registry.advance(name, "Pending")
            self._waiting.append(name)
            self._change.notify()
        record = self._registry.store.get(name) or {}
        wait = record.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
        if wait is not None:
            self._later(wait - (self._registry.clock() - record["CreationTime"]), partial(self._expire, name))

    def stop(self, name: str) -> bool:
        """StopTrainingJob; False where the job is not running."""
        with self._change:
            if not self._registry.stop(name):
                return False
            self._end(name, "user")
        return True

    def running(self) -> list[str]:
        with self._change:
            return sorted(self._running)

    def shutdown(self) -> None:
        """End every program, leave the jobs' records as they are, and return when all is quiet."""
        with self._change:
            self._open = False
            for control in self._running.values():
                control.stop("shutdown")
            self._change.notify_all()
        for worker in self._workers:
            if worker.ident is not None:
                worker.join()

    def _end(self, name: str, cause: Cause) -> None:
        """With the lock held: tell a running job, or finish one that never ran."""
        if name in self._waiting:
            self._waiting.remove(name)
            self._registry.advance(name, final_status(cause))
        elif name in self._running:
            self._running[name].stop(cause)

    def _expire(self, name: str) -> None:
        """MaxWaitTimeInSeconds is over, whether the job waits or runs."""
        with self._change:
            if self._open and (name in self._waiting or name in self._running) and self._registry.stop(name):
                self._end(name, "wait")

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(max(0.0, seconds), action)
        timer.daemon = True
        timer.start()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or not self._open)
                if not self._open:
                    return
                name = self._waiting.popleft()
                control = self._running[name] = Control()
            try:
                record = self._registry.store.get(name)
                assert record is not None
                Lifecycle(self._shop, record, control).run()
            finally:
                with self._change:
                    del self._running[name]

    def _recover(self, record: Record) -> None:
        """A job that was under way when the endpoint ended.

        As the service does when an instance is lost: a spot job is interrupted and starts again from its
        checkpoints; one with a RetryStrategy starts again while it has attempts left; others fail.
        """
        name = record["TrainingJobName"]
        folders.clean(self._shop.jobs, name, folders.host_names(record["ResourceConfig"]["InstanceCount"]))
        try:
            if record["TrainingJobStatus"] == "Stopping":
                self._registry.advance(name, "Stopped")
            elif record["SecondaryStatus"] in {"Starting", "Pending"}:
                self.submit(name)
            elif record["EnableManagedSpotTraining"]:
                self._again(name, "Interrupted")
            elif _attempts_left(record):
                self._again(name, "Restarting")
            else:
                self._registry.advance(name, "Failed", INTERNAL_ERROR)
        except JobStopped:
            self._registry.advance(name, "Stopped")

    def _again(self, name: str, why: str) -> None:
        self._registry.advance(name, why)
        self._registry.advance(name, "Starting")
        self.submit(name)


def _attempts_left(record: Record) -> bool:
    allowed = record.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
    used = sum(step["Status"] == "Restarting" for step in record["SecondaryStatusTransitions"])
    return bool(used < allowed)
