"""Events come twice, late and in any order; functions run side by side and die anywhere; nothing is lost.

Each invocation of the launcher runs in a thread that stops before and after every call to AWS. A state
machine decides who goes on, who dies there, what the user drops meanwhile, and what the queue brings again.
"""

import threading
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from launch_training.handler import route
from tests.launcher.fakes import (
    KEY,
    MANIFEST,
    PLATFORM,
    REJECTION,
    Version,
    World,
    aws_error,
    batch,
    object_created,
    with_images,
)
from training.jobs.request import job_name
from training.jobs.uri import S3Uri

GOOD, BAD = MANIFEST, {**MANIFEST, "schema": 2}
LOCATION = S3Uri(PLATFORM.inputs_bucket, KEY)
GO, DIE, FAIL = "go", "die", "fail"
START, NOWHERE = "start", "nowhere"
WHERE_ORDER_MATTERS = ("HeadObject", "GetObject", "CreateTrainingJob", "Publish", "PutObject", "DeleteObject")


class DiedError(BaseException):
    """The function's process ends here: no handler of exceptions sees it."""


class Invocation(threading.Thread):
    """One run of `work`, which goes on only when told to."""

    def __init__(self, work: Callable[[], Any], at_end: Callable[[Any], None]) -> None:
        super().__init__(daemon=True)
        self._work, self._at_end = work, at_end
        self._answer: Any = None  # as long as it has not returned, and for ever if it died
        self._told, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._order = GO
        self.next_call = START
        self.finished = False
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            self.pause(START)
            self._answer = self._work()
        except (DiedError, ClientError):
            pass  # a scheduled invocation hears of AWS's trouble, and is tried again
        except Exception as error:  # noqa: BLE001 - shown by the test, whose thread this is not
            self.fault = error
        finally:
            self.finished = True
            self._stopped.release()

    def pause(self, operation: str) -> None:
        self.next_call = operation
        self._stopped.release()
        self._told.acquire()
        if self._order == DIE or (self._order == FAIL and operation == START):
            raise DiedError
        if self._order == FAIL:
            raise aws_error("ThrottlingException", operation)

    def begin(self) -> None:
        self.start()
        self._stopped.acquire()

    def advance(self, order: str = GO) -> None:
        """Let it reach its next call, or its end; or let it die, or be throttled, where it stands."""
        self._order = order
        self._told.release()
        self._stopped.acquire()
        if self.finished:
            assert self.fault is None, self.fault
            self._at_end(self._answer)


class Launching(RuleBasedStateMachine):
    """One dataset's manifest, dropped again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.world = with_images(World())
        self.queue: list[dict[str, Any]] = []
        self.running: list[Invocation] = []
        self.drops: dict[str, tuple[Version, bool]] = {}
        self.world.turn = self._turn

    def _turn(self, _service: str, operation: str, _moment: str) -> None:
        """Only invocations call AWS here; the test's own thread looks at the world directly."""
        thread = threading.current_thread()
        if isinstance(thread, Invocation):
            self.queue += [message for message, _ in self.world.sent]
            self.world.sent.clear()
            thread.pause(operation)

    # -- the user and the queue ------------------------------------------------------------------------------

    @precondition(lambda self: len(self.drops) < 5)
    @rule(good=st.booleans())
    def drop(self, good: bool) -> None:
        version = self.world.put(KEY, GOOD if good else BAD)
        self.drops[version.id] = (version, good)
        self.queue.append(object_created(version))

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def an_event_comes_twice(self, data: st.DataObject) -> None:
        self.queue.append(data.draw(st.sampled_from(self.queue)))

    @rule()
    def capacity_comes_or_goes(self) -> None:
        self.world.capacity = not self.world.capacity

    @precondition(lambda self: self.queue and len(self.running) < 3)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        self._deliver(data.draw(st.integers(0, len(self.queue) - 1)))

    def _deliver(self, index: int) -> None:
        """A message leaves the queue only when the function says so: when it dies, it comes again."""
        body = self.queue.pop(index)

        def at_end(answer: dict[str, Any] | None) -> None:
            if answer is None or answer["batchItemFailures"]:
                self.queue.append(body)

        self._begin(batch(body), at_end)

    @precondition(lambda self: len(self.running) < 3)
    @rule()
    def reconcile(self) -> None:
        self._begin({"reconcile": True}, lambda _: None)

    def _begin(self, event: dict[str, Any], at_end: Callable[[Any], None]) -> None:
        self.running.append(Invocation(lambda: route(event, PLATFORM, self.world.aws()), at_end))
        self.running[-1].begin()

    # -- the functions ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.running)
    @rule(data=st.data(), until=st.sampled_from([*WHERE_ORDER_MATTERS, NOWHERE]))
    def go_on(self, data: st.DataObject, until: str) -> None:
        """At least one step, then up to the brink of that call, or to the end."""
        index = data.draw(st.integers(0, len(self.running) - 1))
        while self._advance(index, GO) and self.running[index].next_call != until:
            pass

    @precondition(lambda self: self.running)
    @rule(data=st.data(), order=st.sampled_from([DIE, FAIL]))
    def meet_trouble(self, data: st.DataObject, order: str) -> None:
        self._advance(data.draw(st.integers(0, len(self.running) - 1)), order)

    def _advance(self, index: int, order: str) -> bool:
        """Whether it is still running."""
        work = self.running.pop(index)
        work.advance(order)
        if not work.finished:
            self.running.insert(index, work)
        return not work.finished

    # -- what must hold --------------------------------------------------------------------------------------

    @invariant()
    def every_job_is_of_a_good_drop(self) -> None:
        assert set(self.world.jobs) <= self._good_names()

    def _good_names(self) -> set[str]:
        return {job_name(PLATFORM, LOCATION, "staff", id_) for id_, (_, good) in self.drops.items() if good}

    def teardown(self) -> None:
        """Once every message is handled, every good drop has its job, and the verdict is right."""
        self.world.capacity = True
        while self.running or self.queue:
            if not self.running:
                self._deliver(0)
            self._advance(0, GO)
        assert set(self.world.jobs) == self._good_names()
        self._every_job_has_its_record()
        self._the_verdict_is_on_the_newest_drop()

    def _every_job_has_its_record(self) -> None:
        for name in self.world.jobs:
            record = self.world.read_json(f"outputs/staff/{name}/job.json", PLATFORM.outputs_bucket)
            assert record["job_name"] == name

    def _the_verdict_is_on_the_newest_drop(self) -> None:
        newest = self.world.current(KEY)
        if newest is None or self.drops[newest.id][1]:
            assert self.world.current(REJECTION) is None
        else:
            assert self.world.read_json(REJECTION)["version"] == newest.id
            assert any("rejected" in message["Subject"] for message in self.world.published)


TestLaunching = Launching.TestCase
TestLaunching.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
