"""What can be watched of a job: its log lines in CloudWatch Logs, its metrics in CloudWatch.

Both are sent with the job's own role, and a permission that it lacks costs the log or the metric and not the
job: the developer guide says so of CloudWatch ("the job runs, but its logs do not appear"). The lines are on
disk as well, beside the job's folder.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from facetrain.local.sagemaker.aws import Client, Role, denied
from facetrain.local.sagemaker.guarded import LINE_LIMIT
from training.jobs.contract import LOG_GROUP, METRICS_NAMESPACE

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5
EVENTS_LIMIT, BYTES_LIMIT, EVENT_OVERHEAD = 10_000, 1_048_576, 26  # of one PutLogEvents call
DATA_LIMIT = 1000  # of one PutMetricData call


@dataclass(frozen=True)
class Line:
    milliseconds: int
    text: str


@dataclass(frozen=True)
class Value:
    name: str
    value: float
    seconds: float


class Scanner:
    """Reads metrics from log lines by the request's regular expressions: the first group is the value."""

    def __init__(self, definitions: Iterable[Mapping[str, str]]) -> None:
        self._definitions = [(item["Name"], re.compile(item["Regex"])) for item in definitions]

    def scan(self, line: str, seconds: float) -> list[Value]:
        found = []
        for name, expression in self._definitions:
            for match in expression.finditer(line):
                try:
                    found.append(Value(name, float(match.group(1)), seconds))
                except (TypeError, ValueError):
                    continue  # a word that is no number, as SageMaker passes over it too
        return found


def batches(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines in order, cut so that each batch fits one PutLogEvents call."""
    cut: list[list[Line]] = []
    size = BYTES_LIMIT
    for line in lines:
        bytes_ = len(line.text.encode()) + EVENT_OVERHEAD
        if size + bytes_ > BYTES_LIMIT or len(cut[-1]) == EVENTS_LIMIT:
            cut.append([])
            size = 0
        cut[-1].append(line)
        size += bytes_
    return cut


@dataclass
class Host:
    """One host's log: `write` takes a line from the program."""

    stream: str
    path: Path
    clock: Callable[[], float]
    scanner: Scanner
    lines: list[Line] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, text: str) -> None:
        now = self.clock()
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:  # a full disk must not block the program, whose output we read
            log.warning("a line is missing in %s: %s", self.path, error)
        # CloudWatch Logs takes no empty event.
        short = text.encode()[:LINE_LIMIT].decode("utf-8", "ignore") or " "
        with self.lock:
            self.lines.append(Line(int(now * 1000), short))
            self.values += self.scanner.scan(text, now)

    def take(self) -> tuple[list[Line], list[Value]]:
        with self.lock:
            taken = self.lines, self.values
            self.lines, self.values = [], []
        return taken


class Telemetry:
    """Sends what the hosts write, twice a second, until closed."""

    def __init__(self, role: Role, job: str, definitions: Sequence[Mapping[str, str]], clock: Any) -> None:
        self._logs, self._metrics = role.client("logs"), role.client("cloudwatch")
        self._job, self._clock, self._scanner = job, clock, Scanner(definitions)
        self._hosts: list[Host] = []
        self._final: dict[str, Value] = {}
        self._silenced: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def host(self, name: str, path: Path) -> Host:
        """Open a host's log. The stream's name ends with the time, so a second attempt has its own."""
        stream = f"{self._job}/{name}-{int(self._clock())}"
        host = Host(stream, path, self._clock, self._scanner)
        self._hosts.append(host)
        return host

    def open(self) -> None:
        self._guarded("logs", partial(_create, self._logs, [host.stream for host in self._hosts]))
        self._thread.start()

    def close(self) -> list[dict[str, Any]]:
        """Send the rest; FinalMetricDataList: the last value of each metric."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._flush()
        return [
            {"MetricName": item.name, "Value": item.value, "Timestamp": item.seconds}
            for item in self._final.values()
        ]

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            self._flush()

    def _flush(self) -> None:
        for host in self._hosts:
            lines, values = host.take()
            self._final |= {value.name: value for value in values}
            for batch in batches(lines):
                self._guarded("logs", partial(_put_lines, self._logs, host.stream, batch))
            for start in range(0, len(values), DATA_LIMIT):
                part = values[start : start + DATA_LIMIT]
                self._guarded("metrics", partial(_put_values, self._metrics, self._job, part))

    def _guarded(self, kind: str, send: Callable[[], None]) -> None:
        """Send, unless an earlier refusal showed that it is no use; a lost batch is told, never fatal."""
        if kind in self._silenced:
            return
        try:
            send()
        except ClientError as error:
            if denied(error):
                self._silenced.add(kind)
            log.warning("%s: %s are not sent: %s", self._job, kind, error)
        except BotoCoreError as error:
            log.warning("%s: a batch of %s is lost: %s", self._job, kind, error)


def _create(logs: Client, streams: Iterable[str]) -> None:
    for make, names in (
        (logs.create_log_group, {"logGroupName": LOG_GROUP}),
        *(
            (logs.create_log_stream, {"logGroupName": LOG_GROUP, "logStreamName": stream})
            for stream in streams
        ),
    ):
        try:
            make(**names)
        except logs.exceptions.ResourceAlreadyExistsException:
            continue


def _put_lines(logs: Client, stream: str, batch: Sequence[Line]) -> None:
    events = [{"timestamp": line.milliseconds, "message": line.text} for line in batch]
    logs.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream, logEvents=events)


def _put_values(metrics: Client, job: str, values: Sequence[Value]) -> None:
    dimensions = [{"Name": "TrainingJobName", "Value": job}]
    data = [
        {"MetricName": item.name, "Dimensions": dimensions, "Timestamp": item.seconds, "Value": item.value}
        for item in values
    ]
    metrics.put_metric_data(Namespace=METRICS_NAMESPACE, MetricData=data)
