"""A process for each core, fed with as much as keeps it busy."""

import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process

from facetrain.datasets.prepare.journal import Row
from facetrain.datasets.prepare.worker import Plan, Task, Worker
from facetrain.errors import OperationError

_AHEAD = 8  # tasks for each process: they are short, and a million of them need not lie in a queue
_worker: Worker | None = None  # of a process of the pool


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(plan: Plan, tasks: Iterable[Task], processes: int) -> Generator[Row, None, None]:
    """The row of each task, in any order. Raises OperationError where a process is ended from outside."""
    if processes <= 1:
        yield from map(Worker(plan), tasks)
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin, (plan,))
    try:
        yield from _fed(pool, iter(tasks), processes * _AHEAD)
    except BrokenProcessPool:
        raise OperationError(
            "a process was ended from outside, perhaps for want of memory; what is done stays: run it again, "
            "with fewer --processes"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _fed(pool: ProcessPoolExecutor, tasks: Iterator[Task], ahead: int) -> Iterator[Row]:
    waiting: deque[Future[Row]] = deque(pool.submit(_one, task) for task in islice(tasks, ahead))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(pool.submit(_one, task) for task in islice(tasks, 1))


def _begin(plan: Plan) -> None:
    global _worker  # noqa: PLW0603 - the pool gives no other place to keep what a process holds
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = Worker(plan)


def _end_with_parent() -> None:
    """A killed command leaves no processes that wait for it for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _one(task: Task) -> Row:
    assert _worker is not None
    return _worker(task)
