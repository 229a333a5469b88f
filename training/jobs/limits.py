"""CreateTrainingJob's limits, checked before the call: AWS names only the first that is broken."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from training.jobs import contract
from training.jobs.problems import Problem, ProblemsError


class RequestError(ProblemsError):
    """The request would be refused; `problems` holds JSON paths within the request."""


def violations(request: Mapping[str, Any]) -> list[Problem]:
    """Every documented limit that the request breaks."""
    return [
        *_name(request),
        *_image_and_metrics(request),
        *_hyperparameters(request),
        *_channels(request),
        *_tags(request),
    ]


def _name(request: Mapping[str, Any]) -> Iterator[Problem]:
    name = request["TrainingJobName"]
    if len(name) > contract.JOB_NAME_LIMIT or not re.fullmatch(contract.JOB_NAME_PATTERN, name):
        yield Problem(
            "TrainingJobName",
            f'"{name}" is no job name: at most {contract.JOB_NAME_LIMIT} letters, digits and single hyphens',
        )


def _image_and_metrics(request: Mapping[str, Any]) -> Iterator[Problem]:
    algorithm = request["AlgorithmSpecification"]
    path = "AlgorithmSpecification"
    yield from _length(f"{path}.TrainingImage", algorithm["TrainingImage"], contract.IMAGE_URI_LIMIT)
    metrics = algorithm.get("MetricDefinitions", ())
    yield from _count(f"{path}.MetricDefinitions", metrics, contract.METRICS_LIMIT)
    for index, metric in enumerate(metrics):
        yield from _length(
            f"{path}.MetricDefinitions[{index}].Name", metric["Name"], contract.METRIC_NAME_LIMIT
        )
        yield from _length(
            f"{path}.MetricDefinitions[{index}].Regex", metric["Regex"], contract.METRIC_REGEX_LIMIT
        )


def _hyperparameters(request: Mapping[str, Any]) -> Iterator[Problem]:
    values = request["HyperParameters"]
    yield from _count("HyperParameters", values, contract.HYPERPARAMETERS_LIMIT)
    for name, value in values.items():
        yield from _length(f"HyperParameters.{name}", name, contract.HYPERPARAMETER_KEY_LIMIT)
        yield from _length(f"HyperParameters.{name}", value, contract.HYPERPARAMETER_VALUE_LIMIT)


def _channels(request: Mapping[str, Any]) -> Iterator[Problem]:
    channels = request["InputDataConfig"]
    yield from _count("InputDataConfig", channels, contract.CHANNELS_LIMIT)
    for channel in channels:
        path = f"InputDataConfig.{channel['ChannelName']}"
        if not re.fullmatch(contract.CHANNEL_NAME_PATTERN, channel["ChannelName"]):
            yield Problem(path, "is no channel name: letters, digits and . - _ only, at most 64")
        yield from _length(path, channel["DataSource"]["S3DataSource"]["S3Uri"], contract.S3_URI_LIMIT)
    yield from _length(
        "OutputDataConfig.S3OutputPath", request["OutputDataConfig"]["S3OutputPath"], contract.S3_URI_LIMIT
    )
    yield from _length("CheckpointConfig.S3Uri", request["CheckpointConfig"]["S3Uri"], contract.S3_URI_LIMIT)


def _tags(request: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _count("Tags", request["Tags"], contract.TAGS_LIMIT)
    for tag in request["Tags"]:
        yield from _length(f"Tags.{tag['Key']}", tag["Key"], contract.TAG_KEY_LIMIT)
        if tag["Key"].lower().startswith("aws:"):
            yield Problem(f"Tags.{tag['Key']}", 'begins with "aws:", which AWS keeps for itself')


def _length(path: str, text: str, limit: int) -> Iterator[Problem]:
    if len(text) > limit:
        yield Problem(path, f"has {len(text)} characters, {limit} are allowed: shorten it")


def _count(path: str, items: Any, limit: int) -> Iterator[Problem]:
    if len(items) > limit:
        yield Problem(path, f"has {len(items)} entries, {limit} are allowed: leave some out")
