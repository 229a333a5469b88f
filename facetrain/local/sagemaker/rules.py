"""What CreateTrainingJob refuses beyond the service model's constraints.

Sources: the API reference's text for each member, and the messages that users of the service report. Options
that the service has and this endpoint has not are refused too, and say so: none is silently ignored.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from facetrain.local.sagemaker.errors import ValidationError
from facetrain.local.sagemaker.images import IMAGE
from training.jobs.contract import (
    INSTANCE_COUNT_LIMIT,
    MAX_RUNTIME_SECONDS_LIMIT,
    TAGS_LIMIT,
    VOLUME_GB_LIMIT,
)
from training.jobs.uri import S3Uri

Request = Mapping[str, Any]

# Families with local NVMe storage, which has its own encryption (API reference, ResourceConfig).
_NVME = re.compile(
    r"ml\.(p3dn|p4d|p4de|p5|p5e|p5en|p6[a-z0-9-]*|g4dn|g5|g6|g6e|g7|g7e|trn1|trn1n|trn2|r5d)\."
)
_MAX_WAIT = "Invalid MaxWaitTimeInSeconds. It"
_NOT_HERE = (
    ("TensorBoardOutputConfig", "TensorBoard output"),
    ("DebugRuleConfigurations", "Debugger rules"),
    ("ProfilerRuleConfigurations", "Profiler rules"),
    ("ServerlessJobConfig", "Serverless jobs"),
    ("MlflowConfig", "MLflow tracking"),
    ("ModelPackageConfig", "Model packages"),
)


def check_request(request: Request) -> None:
    """Raise ValidationError for the first rule that the request breaks, as the service does."""
    for rule in RULES:
        for problem in rule(request):
            raise ValidationError(problem)


def _algorithm(request: Request) -> Iterator[str]:
    algorithm = request.get("AlgorithmSpecification")
    if algorithm is None:
        yield "AlgorithmSpecification is required"
        return
    image = algorithm.get("TrainingImage")
    if algorithm.get("AlgorithmName"):
        yield _absent("Algorithm resources (AlgorithmName)", "give the image's address as TrainingImage")
    if not image or not IMAGE.fullmatch(image):
        yield (
            "Invalid training image. Please provide a valid Amazon Elastic Container Registry path of the "
            "Docker image to run."
        )
    if algorithm.get("ContainerEntrypoint") or algorithm.get("ContainerArguments"):
        yield _absent("ContainerEntrypoint and ContainerArguments", "let the image's own entry point run")
    for definition in algorithm.get("MetricDefinitions", ()):
        try:
            groups = re.compile(definition["Regex"]).groups
        except re.error as error:
            yield f"Invalid regex in metric definition {definition['Name']!r}: {error}"
            continue
        if not groups:
            yield f"Metric definition {definition['Name']!r}: the regex has no group to capture the value"


def _channels(request: Request) -> Iterator[str]:
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", ())]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"Duplicate channel name in InputDataConfig: {name}. Channel names must be unique."
    for channel in request.get("InputDataConfig", ()):
        yield from _channel(channel, request["AlgorithmSpecification"]["TrainingInputMode"])


def _channel(channel: Request, default_mode: str) -> Iterator[str]:
    name, source = channel["ChannelName"], channel["DataSource"]
    if "S3DataSource" not in source:
        yield _absent(f"Channel {name}: a data source other than S3DataSource", "put the data in S3")
        return
    s3 = source["S3DataSource"]
    yield from _s3_uri(s3["S3Uri"], f"channel {name}")
    if channel.get("InputMode", default_mode) == "Pipe":
        yield _absent(f"Channel {name}: Pipe mode", "use File or FastFile")
    if s3["S3DataType"] == "AugmentedManifestFile":
        yield f"Channel {name}: AugmentedManifestFile can only be used if the input mode is Pipe"
    if s3["S3DataType"] == "Converse":
        yield _absent(f"Channel {name}: S3DataType Converse", "use S3Prefix or ManifestFile")
    for option in ("CompressionType", "RecordWrapperType"):
        if channel.get(option, "None") != "None":
            yield f"Channel {name}: {option} is used only in Pipe input mode; leave it unset in File mode"
    if s3.get("InstanceGroupNames"):
        yield _absent(f"Channel {name}: InstanceGroupNames", "leave it out")


def _outputs(request: Request) -> Iterator[str]:
    yield from _s3_uri(request["OutputDataConfig"]["S3OutputPath"], "OutputDataConfig")
    checkpoints = request.get("CheckpointConfig")
    if checkpoints is not None:
        if "S3Uri" not in checkpoints:
            yield "CheckpointConfig needs an S3Uri"
            return
        yield from _s3_uri(checkpoints["S3Uri"], "CheckpointConfig")
        path = checkpoints.get("LocalPath", "/opt/ml/checkpoints")
        taken = ("input", "model", "output", "failure")
        first = path.removeprefix("/opt/ml/").strip("/").partition("/")[0]
        if not path.startswith("/opt/ml/") or ".." in path.split("/") or first in ("", *taken):
            yield (
                f"CheckpointConfig.LocalPath {path!r} must be a folder below /opt/ml other than "
                + ", ".join(f"/opt/ml/{name}" for name in taken)
            )


def _resources(request: Request) -> Iterator[str]:
    resources = request.get("ResourceConfig", {})
    if resources.get("InstanceGroups"):
        yield _absent("InstanceGroups", "give InstanceType and InstanceCount")
    for option in ("TrainingPlanArn", "KeepAlivePeriodInSeconds", "InstancePlacementConfig"):
        if resources.get(option):
            yield _absent(option, "leave it out")
    if not resources.get("InstanceType") or not resources.get("InstanceCount"):
        yield "ResourceConfig needs InstanceType and an InstanceCount of at least 1"
        return
    kind, volume = resources["InstanceType"], resources.get("VolumeSizeInGB", 1)
    if resources["InstanceCount"] > INSTANCE_COUNT_LIMIT:
        yield f"InstanceCount {resources['InstanceCount']} is above the limit of {INSTANCE_COUNT_LIMIT}"
    if not 1 <= volume <= VOLUME_GB_LIMIT:
        yield f"VolumeSizeInGB {volume} must be between 1 and {VOLUME_GB_LIMIT}"
    if resources.get("VolumeKmsKeyId") and _NVME.match(kind):
        yield f"VolumeKmsKeyId is not supported for {kind}: its local storage is encrypted by the hardware"


def _time(request: Request) -> Iterator[str]:
    stopping = request.get("StoppingCondition")
    if stopping is None:
        yield "StoppingCondition is required"
        return
    runtime = stopping.get("MaxRuntimeInSeconds", 24 * 3600)
    wait = stopping.get("MaxWaitTimeInSeconds")
    if runtime > MAX_RUNTIME_SECONDS_LIMIT:
        yield f"MaxRuntimeInSeconds {runtime} is above the maximum of 28 days ({MAX_RUNTIME_SECONDS_LIMIT})"
    if not request.get("EnableManagedSpotTraining"):
        if wait is not None:
            yield f"{_MAX_WAIT} is only supported when EnableManagedSpotTraining is set to true"
    elif wait is None or wait < runtime:
        yield f"{_MAX_WAIT} must be present and be greater than or equal to MaxRuntimeInSeconds"


def _tags(request: Request) -> Iterator[str]:
    yield from tag_problems(request.get("Tags", ()))


def tag_problems(tags: Any) -> Iterator[str]:
    """Why a list of {"Key", "Value"} cannot be put on a job."""
    keys = [tag["Key"] for tag in tags]
    if len(keys) > TAGS_LIMIT:
        yield f"A resource can have at most {TAGS_LIMIT} tags; {len(keys)} are given"
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield f"Duplicate tag key: {key}. Tag keys must be unique."
    for key in keys:
        if key.lower().startswith("aws:"):
            yield f"Tag key {key}: aws: prefixed tag key names are not allowed for external use."


def _unsupported(request: Request) -> Iterator[str]:
    for name, words in _NOT_HERE:
        if request.get(name):
            yield _absent(f"{words} ({name})", "leave it out")
    if request.get("RemoteDebugConfig", {}).get("EnableRemoteDebug"):
        yield _absent("Remote debugging (RemoteDebugConfig)", "leave it out")


def _s3_uri(text: str, place: str) -> Iterator[str]:
    try:
        S3Uri.parse(text)
    except ValueError as error:
        yield f"Invalid S3 URI in {place}: {error}"


def _absent(what: str, remedy: str) -> str:
    return f"{what}: SageMaker has this, the endpoint on this machine has not; {remedy}"


RULES: tuple[Callable[[Request], Iterator[str]], ...] = (
    _algorithm,
    _channels,
    _outputs,
    _resources,
    _time,
    _tags,
    _unsupported,
)
