"""The states of a training job, and the record that DescribeTrainingJob shows. Pure: time is an argument.

    Starting → (Pending) → Downloading → Training → Uploading → Completed
        any of them → Stopping → (Uploading) → Stopped | MaxRuntimeExceeded | MaxWaitTimeExceeded
        any of them → Failed;   spot: → Interrupted → Starting;   with RetryStrategy: → Restarting → Starting

Names, meanings and messages: API reference, DescribeTrainingJob and SecondaryStatusTransition.
"""

from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]

MESSAGES = {
    "Starting": "Starting the training job",
    "Pending": "Training job waiting for capacity",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
    "Interrupted": "Training job interrupted: the managed spot training instances were interrupted",
    "Restarting": "Restarting the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
}
FINAL = {
    "Completed": "Completed",
    "Failed": "Failed",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
    "MaxWaitTimeExceeded": "Stopped",
}
_ON_INSTANCES = frozenset({"Downloading", "Training", "Uploading", "Stopping"})
FINISHED = frozenset(FINAL.values())
FAILURE_REASON_LIMIT = 1024
MAX_RUNTIME_DEFAULT = 24 * 3600
_NOT_DESCRIBED = ("Tags", "SessionChainingConfig")


def new_record(request: Mapping[str, Any], arn: str, now: float) -> Record:
    """The record of a job just created: what the request says, the service's defaults, and Starting."""
    described = {name: value for name, value in request.items() if name not in _NOT_DESCRIBED}
    flags = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")
    record: Record = {
        **dict.fromkeys(flags, False),
        **described,
        "StoppingCondition": {"MaxRuntimeInSeconds": MAX_RUNTIME_DEFAULT, **request["StoppingCondition"]},
        "TrainingJobArn": arn,
        "CreationTime": now,
        "SecondaryStatusTransitions": [],
        "ProfilingStatus": "Disabled",
    }
    return advance(record, "Starting", now)


def advance(
    record: Record, secondary: str, now: float, reason: str | None = None, message: str | None = None
) -> Record:
    """A new record in the next secondary status. `reason` is a failure's, `message` what is not the usual."""
    transitions = [dict(step) for step in record["SecondaryStatusTransitions"]]
    if transitions:
        transitions[-1]["EndTime"] = now
    said = message or MESSAGES[secondary]
    transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": said})
    changed: Record = {
        **record,
        "TrainingJobStatus": _primary(record, secondary),
        "SecondaryStatus": secondary,
        "SecondaryStatusTransitions": transitions,
        "LastModifiedTime": now,
    }
    if reason is not None:
        changed["FailureReason"] = reason[:FAILURE_REASON_LIMIT]
    if secondary == "Downloading":
        changed.setdefault("TrainingStartTime", now)
    if secondary in FINAL:
        transitions[-1]["EndTime"] = now
        changed |= _billing(changed, now)
    return changed


def _primary(record: Record, secondary: str) -> str:
    if secondary in FINAL:
        return FINAL[secondary]
    if secondary == "Stopping" or (secondary == "Uploading" and record["TrainingJobStatus"] == "Stopping"):
        return "Stopping"
    return "InProgress"


def running_seconds(record: Mapping[str, Any], now: float) -> float:
    """Seconds on instances so far, over all attempts; waiting and interruptions do not count."""
    steps = record["SecondaryStatusTransitions"]
    return float(
        sum(step.get("EndTime", now) - step["StartTime"] for step in steps if step["Status"] in _ON_INSTANCES)
    )


def _billing(record: Record, now: float) -> Record:
    """A job that never had an instance has an end, but no times."""
    if "TrainingStartTime" not in record:
        return {"TrainingEndTime": now}
    seconds = max(1, round(running_seconds(record, now)))
    return {"TrainingEndTime": now, "TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
