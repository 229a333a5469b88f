"""The figures of a run as others watch them: TensorBoard's event files, and an MLflow server if one is named.

Only numbers and hyperparameters leave the trainer this way: no faces, no names of people or files. Whatever
becomes of a tracker, training goes on; what is wrong with it is said once.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from training.container.about import About
from training.container.errors import StoppedError, first_line

Log = Callable[[str], None]
Numbers = dict[str, float]

EXPERIMENT = "facetrain"
JOB_TAG = "facetrain.job"
LAST_WORDS_SECONDS = 20.0  # what the end of a run waits for a slow server
MOST_AT_ONCE = 1000  # MLflow's limit of one log-batch


class Tracker(Protocol):
    """Told of everything that happens; each call returns at once."""

    forgets: bool  # what an earlier part of the run told it, and is to be told that again

    def log(self, numbers: Numbers, step: int) -> None: ...
    def close(self, outcome: str) -> None:
        """outcome: FINISHED, FAILED or, for a run that will be taken up again, STOPPED."""


class Trackers:
    """All trackers of one run, and the names their numbers go by. Rank 0 alone has any.

    In a `with` statement: they are told at its end how the run ended.
    """

    def __init__(self, trackers: Sequence[Tracker] = ()):
        self._trackers = trackers

    def train(self, point: Mapping[str, float]) -> None:
        """point: the step, and what a line of the log says of it."""
        numbers = {f"train/{name}": value for name, value in point.items() if name != "step"}
        self._log(numbers, int(point["step"]))

    def verification(self, step: int, figures: Mapping[str, Any], kind: str = "verification") -> None:
        """kind: what the figures are of, as each of their names begins."""
        self._log({f"{kind}/{name}": value for name, value in numbers_of(figures)}, step)

    def finished(self, step: int, figures: Mapping[str, Any]) -> None:
        """The figures of the model that is kept."""
        self._log({f"final/{name}": value for name, value in numbers_of(figures)}, step)

    def forgetful(self) -> "Trackers":
        return Trackers([tracker for tracker in self._trackers if tracker.forgets])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome = "FINISHED" if error is None else "STOPPED" if isinstance(error, StoppedError) else "FAILED"
        for tracker in self._trackers:
            tracker.close(outcome)

    def _log(self, numbers: Numbers, step: int) -> None:
        for tracker in self._trackers:
            tracker.log(numbers, step)


def numbers_of(figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The plain numbers among the figures, and the operating points; no texts, no names of sets or groups."""
    for name, value in figures.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in ("step", "epoch"):
            yield name, float(value)
    for far, tar in (figures.get("tar_at_far") or {}).items():
        yield f"tar_at_far_{far}", float(tar)


def open_trackers(folder: Path, about: About, config: Mapping[str, Any], log: Log) -> Trackers:
    """folder: TensorBoard's, in the job's output. config: every knob."""
    trackers: list[Tracker] = [TensorBoard(folder, log)]
    if config["tracking_uri"]:
        trackers.append(MLflow(config, about, log))
    return Trackers(trackers)


def public(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every knob as others may read it: an address without the password that may be in it."""
    parts = urlsplit(config["tracking_uri"])
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return {**config, "tracking_uri": bare}


def replay(
    trackers: Trackers,
    curve: Sequence[Mapping[str, float]],
    done: Sequence[Mapping[str, Any]],
    kind: str = "verification",
) -> None:
    """Tells what happened before an interruption: the job's output folder, unlike its checkpoints, was lost.

    curve and done: as Progress has them.
    """
    trackers = trackers.forgetful()
    for point in curve:
        trackers.train(point)
    for figures in done:
        trackers.verification(int(figures["step"]), figures, kind)


class TensorBoard:
    """Event files that `tensorboard --logdir` shows."""

    forgets = True

    def __init__(self, folder: Path, log: Log):
        from tensorboardX import SummaryWriter  # noqa: PLC0415  (a second, only where a run is tracked)

        self._tell = log
        self._writer: Any = None

        def begin() -> None:
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()  # of a part of this run that `replay` tells again
            self._writer = SummaryWriter(str(folder))

        self._guarded(begin)

    def log(self, numbers: Numbers, step: int) -> None:
        if self._writer:
            self._guarded(
                lambda: [self._writer.add_scalar(name, value, step) for name, value in numbers.items()]
            )

    def close(self, outcome: str) -> None:  # noqa: ARG002  (a Tracker's)
        if self._writer:
            self._guarded(self._writer.close)

    def _guarded(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except OSError as error:  # a full disk, mostly
            self._writer = None
            self._tell(f"tracking tensorboard failed: {error}: training goes on without it")


class MLflow:
    """One MLflow run, spoken to in a thread of its own: a slow server holds no step up.

    A job that is taken up again goes on in the run that it began.
    """

    def __init__(self, config: Mapping[str, Any], about: About, log: Log):
        self._config, self._about, self._tell = config, about, log
        self.forgets = not about.job  # without a name the run is not found again
        self._waiting: queue.SimpleQueue[tuple[Numbers, int, int] | str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def log(self, numbers: Numbers, step: int) -> None:
        self._waiting.put((numbers, step, int(time.time() * 1000)))

    def close(self, outcome: str) -> None:
        self._waiting.put(outcome)
        self._thread.join(LAST_WORDS_SECONDS)
        if self._thread.is_alive():
            self._tell("tracking mlflow is slow: its server may lack the last figures")

    def _work(self) -> None:
        try:
            client, run = self._begin()
            outcome = None
            while outcome is None:
                outcome = self._send(client, run)
            if outcome != "STOPPED":
                client.set_terminated(run, outcome)
        except ImportError:
            self._give_up(ImportError("mlflow-skinny is not installed: pip install 'facetrain[tracking]'"))
        except Exception as error:  # noqa: BLE001  (whatever a server does is no reason to end training)
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        given, bare = self._config["tracking_uri"], public(self._config)["tracking_uri"]
        # An error may quote the password with the address.
        why = first_line(ConnectionError(str(_root(error)).replace(given.rstrip("/"), bare.rstrip("/"))))
        self._tell(f"tracking mlflow failed: {bare}: {why}: training goes on without it")

    def _begin(self) -> tuple[Any, str]:
        """The client, and the id of this job's run."""
        # Read when mlflow is imported: seven tries of two minutes each would outlast many a run, and its
        # own usage statistics are nobody's business here.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # it would print a password with it
        from mlflow.entities import Param  # noqa: PLC0415
        from mlflow.tracking import MlflowClient  # noqa: PLC0415  (an extra, of 70 MB)

        client = MlflowClient(tracking_uri=self._config["tracking_uri"])
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
        name = self._about.job
        if name and (runs := client.search_runs([experiment], f"tags.`{JOB_TAG}` = '{name}'", max_results=1)):
            return client, runs[0].info.run_id
        tags = {JOB_TAG: name, "facetrain.dataset": self._about.dataset}
        run = client.create_run(experiment, run_name=name or None, tags=tags).info.run_id
        client.log_batch(run, params=[Param(key, str(value)) for key, value in public(self._config).items()])
        return client, run

    def _send(self, client: Any, run: str) -> str | None:
        """Sends what waits; the outcome once the run has ended."""
        from mlflow.entities import Metric  # noqa: PLC0415

        metrics: list[Metric] = []
        item = self._waiting.get()
        while not isinstance(item, str):
            numbers, step, when = item
            metrics += [Metric(name, value, when, step) for name, value in numbers.items()]
            if self._waiting.empty() or len(metrics) > MOST_AT_ONCE - 50:
                break
            item = self._waiting.get()
        if metrics:
            client.log_batch(run, metrics=metrics)
        return item if isinstance(item, str) else None


def _root(error: BaseException) -> BaseException:
    """What began a chain of errors: "Connection refused", where the last one is a page long."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error
