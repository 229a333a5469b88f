"""Training jobs as a user looks at them: a list, one in full, its log, and the button that stops it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from facetrain.client import TERMINAL, Deployment, code
from facetrain.errors import InputError, OperationError
from facetrain.forgetting import marks
from training.jobs import contract

POLL_SECONDS = 2.0
_DESCRIBING_AT_ONCE = 4  # DescribeTrainingJob is throttled per account


@dataclass(frozen=True)
class LogLine:
    """One line of one host's log; `at` is milliseconds since 1970, as CloudWatch Logs has it."""

    host: str
    at: int
    message: str


def summary(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a table and `--json` show of one DescribeTrainingJob answer. Times are ISO 8601 in UTC."""
    started, ended = job.get("TrainingStartTime"), job.get("TrainingEndTime")
    finished = job["TrainingJobStatus"] in TERMINAL
    return {
        "name": job["TrainingJobName"],
        "dataset": _dataset(job),
        "status": job["TrainingJobStatus"],
        "secondary_status": job.get("SecondaryStatus", ""),
        "created": _iso(job.get("CreationTime")),
        "started": _iso(started),
        "ended": _iso(ended if finished else None),
        "seconds": _seconds(started, ended if finished else None),
        "billable_seconds": job.get("BillableTimeInSeconds"),
        "instance": f"{job['ResourceConfig']['InstanceCount']} x {job['ResourceConfig']['InstanceType']}",
        "spot": job.get("EnableManagedSpotTraining", False),
        "metrics": {metric["MetricName"]: metric["Value"] for metric in job.get("FinalMetricDataList", ())},
        "model": job["ModelArtifacts"]["S3ModelArtifacts"]
        if job["TrainingJobStatus"] == "Completed"
        else None,
        "failure_reason": job.get("FailureReason"),
        "arn": job["TrainingJobArn"],
        "transitions": [
            {
                "status": step["Status"],
                "started": _iso(step["StartTime"]),
                "message": step.get("StatusMessage", ""),
            }
            for step in job.get("SecondaryStatusTransitions", ())
        ],
    }


def recent(deployment: Deployment, limit: int, status: str | None = None) -> list[dict[str, Any]]:
    """Summaries of this deployment's newest jobs, newest first."""
    arguments = {"StatusEquals": status} if status else {}
    names = list(islice(_names(deployment, **arguments), limit))
    with ThreadPoolExecutor(_DESCRIBING_AT_ONCE) as pool:
        return list(pool.map(lambda name: shown(deployment, name), names))


def shown(deployment: Deployment, name: str) -> dict[str, Any]:
    """The summary of one job. forgotten: what to say where its model learnt from somebody to be forgotten."""
    job = describe(deployment, name)
    return summary(job) | {"forgotten": marks.of_job(deployment.s3, job)}


def describe(deployment: Deployment, name: str) -> dict[str, Any]:
    """DescribeTrainingJob's answer; ClientError where there is no such job."""
    answer: dict[str, Any] = deployment.sagemaker.describe_training_job(TrainingJobName=name)
    return answer


def resolve(deployment: Deployment, text: str) -> str:
    """The full name of the one job that `text` is the name, or the beginning of the name, of.

    The beginning may leave out what all names of the deployment begin with. Raises InputError.
    """
    prefix = f"{deployment.platform.job_prefix}-"
    whole = text if text.startswith(prefix) else prefix + text
    found = [name for name in _names(deployment, NameContains=whole) if name.startswith(whole)]
    if whole in found or len(found) == 1:
        return whole if whole in found else found[0]
    if not found:
        raise InputError.because("JOB", f'no job\'s name begins with "{text}": `facetrain jobs` lists them')
    shown = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
    raise InputError.because("JOB", f'"{text}" begins the names of {len(found)} jobs: {shown}')


def stop(deployment: Deployment, name: str) -> None:
    """Asks the service to stop a job. Raises OperationError where it is not running."""
    job = describe(deployment, name)
    if job["TrainingJobStatus"] in TERMINAL:
        raise OperationError(f"{name} is not running: it is {job['TrainingJobStatus']}")
    deployment.sagemaker.stop_training_job(TrainingJobName=name)


@dataclass
class LogReader:
    """Reads a job's log streams, one a host, from where it stopped the last time."""

    deployment: Deployment
    job: str

    def __post_init__(self) -> None:
        self._tokens: dict[str, str] = {}

    def new_lines(self) -> list[LogLine]:
        """What was written since the last call, in order of time."""
        lines = [line for stream in self._streams() for line in self._read(stream)]
        return sorted(lines, key=lambda line: line.at)

    def _streams(self) -> list[str]:
        pages = self._logs.get_paginator("describe_log_streams").paginate(
            logGroupName=contract.LOG_GROUP, logStreamNamePrefix=f"{self.job}/"
        )
        try:
            return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except ClientError as error:
            if code(error) == "ResourceNotFoundException":  # the group appears with the account's first job
                return []
            raise

    def _read(self, stream: str) -> Iterator[LogLine]:
        host = stream.removeprefix(f"{self.job}/").rpartition("-")[0] or stream
        while True:
            token = {"nextToken": self._tokens[stream]} if stream in self._tokens else {}
            page = self._logs.get_log_events(
                logGroupName=contract.LOG_GROUP, logStreamName=stream, startFromHead=True, **token
            )
            for event in page["events"]:
                yield LogLine(host, event["timestamp"], event["message"].rstrip("\n"))
            # The end of a stream gives back the token that it was asked with.
            if page["nextForwardToken"] == self._tokens.get(stream):
                return
            self._tokens[stream] = page["nextForwardToken"]

    @property
    def _logs(self) -> Any:
        return self.deployment.connection.client("logs")


def follow(
    deployment: Deployment, name: str, sleep: Callable[[float], None] = time.sleep
) -> Iterator[LogLine | dict[str, Any]]:
    """Log lines as they come, and DescribeTrainingJob's answer at each change of state, to the last one."""
    reader = LogReader(deployment, name)
    shown: tuple[str, str] | None = None
    while True:
        job = describe(deployment, name)  # before the log, so that the last lines are read after the end
        yield from reader.new_lines()
        state = (job["TrainingJobStatus"], job.get("SecondaryStatus", ""))
        if state != shown:
            shown = state
            yield job
        if job["TrainingJobStatus"] in TERMINAL:
            return
        sleep(POLL_SECONDS)


def _names(deployment: Deployment, **arguments: Any) -> Iterable[str]:
    prefix = f"{deployment.platform.job_prefix}-"
    query = {"NameContains": prefix, "SortBy": "CreationTime", "SortOrder": "Descending"} | arguments
    for page in deployment.sagemaker.get_paginator("list_training_jobs").paginate(**query):
        for job in page["TrainingJobSummaries"]:
            if job["TrainingJobName"].startswith(prefix):
                yield job["TrainingJobName"]


def _dataset(job: Mapping[str, Any]) -> str:
    """`staff` of s3://…/outputs/staff/, where the request puts the output."""
    path: str = job["OutputDataConfig"]["S3OutputPath"]
    return path.rstrip("/").partition(f"/{contract.OUTPUTS_PREFIX}")[2]


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None


def _seconds(started: datetime | None, ended: datetime | None) -> int | None:
    if started is None:
        return None
    return round(((ended or datetime.now(UTC)) - started).total_seconds())
