"""Rules of CreateTrainingJob that the service model does not hold."""

from typing import Any

import pytest

from facetrain.local.sagemaker.errors import ValidationError
from facetrain.local.sagemaker.rules import check_request

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/facetrain/arcface:v1"
ALGORITHM = {"TrainingImage": IMAGE, "TrainingInputMode": "File"}
RESOURCES = {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10}


def channel(name: str = "images", uri: str = "s3://bucket/in/", **more: Any) -> dict[str, Any]:
    kind = more.pop("kind", "S3Prefix")
    return {
        "ChannelName": name,
        "DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": uri}},
        **more,
    }


def request(**changes: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "a-job",
        "AlgorithmSpecification": ALGORITHM,
        "InputDataConfig": [channel()],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out/"},
        "ResourceConfig": RESOURCES,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **changes,
    }


def metric(regex: str) -> dict[str, Any]:
    return {"AlgorithmSpecification": {**ALGORITHM, "MetricDefinitions": [{"Name": "loss", "Regex": regex}]}}


REFUSED = [
    (
        {"AlgorithmSpecification": {**ALGORITHM, "TrainingImage": "docker.io/x"}},
        "Invalid training image. Please",
    ),
    ({"AlgorithmSpecification": {**ALGORITHM, "AlgorithmName": "x"}}, "AlgorithmName"),
    ({"AlgorithmSpecification": {**ALGORITHM, "ContainerEntrypoint": ["sh"]}}, "ContainerEntrypoint"),
    (metric("loss=("), "Invalid regex in metric definition 'loss'"),
    (metric("loss="), "has no group to capture the value"),
    ({"InputDataConfig": [channel(), channel()]}, "Duplicate channel name in InputDataConfig: images"),
    ({"InputDataConfig": [channel(uri="s3://Bad_Bucket/x")]}, "Invalid S3 URI in channel images"),
    ({"InputDataConfig": [channel(InputMode="Pipe")]}, "Pipe mode"),
    ({"InputDataConfig": [channel(kind="AugmentedManifestFile")]}, "only be used if the input mode is Pipe"),
    ({"InputDataConfig": [channel(CompressionType="Gzip")]}, "CompressionType is used only in Pipe"),
    ({"InputDataConfig": [channel(RecordWrapperType="RecordIO")]}, "RecordWrapperType is used only in Pipe"),
    ({"InputDataConfig": [{"ChannelName": "x", "DataSource": {"FileSystemDataSource": {}}}]}, "data in S3"),
    ({"OutputDataConfig": {"S3OutputPath": "s3:///out"}}, "Invalid S3 URI in OutputDataConfig"),
    ({"CheckpointConfig": {"S3Uri": "s3://b-b/c", "LocalPath": "/tmp/c"}}, "below /opt/ml"),
    ({"CheckpointConfig": {"S3Uri": "s3://b-b/c", "LocalPath": "/opt/ml/model"}}, "below /opt/ml"),
    ({"CheckpointConfig": {"S3Uri": "s3://b-b/c", "LocalPath": "/opt/ml/x/../../y"}}, "below /opt/ml"),
    ({"ResourceConfig": {"InstanceGroups": [{}]}}, "InstanceGroups: SageMaker has this"),
    ({"ResourceConfig": {"VolumeSizeInGB": 1}}, "needs InstanceType and an InstanceCount"),
    ({"ResourceConfig": {**RESOURCES, "InstanceCount": 101}}, "above the limit of 100"),
    ({"ResourceConfig": {**RESOURCES, "VolumeSizeInGB": 16385}}, "between 1 and 16384"),
    ({"ResourceConfig": {**RESOURCES, "VolumeKmsKeyId": "k"}}, "not supported for ml.g5.xlarge"),
    ({"StoppingCondition": {"MaxRuntimeInSeconds": 28 * 86400 + 1}}, "28 days"),
    (
        {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}},
        "It is only supported when EnableManagedSpotTraining is set to true",
    ),
    ({"EnableManagedSpotTraining": True}, "It must be present and be greater than or equal to"),
    (
        {
            "EnableManagedSpotTraining": True,
            "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59},
        },
        "It must be present and be greater than or equal to MaxRuntimeInSeconds",
    ),
    ({"Tags": [{"Key": "a", "Value": ""}, {"Key": "a", "Value": "x"}]}, "Duplicate tag key: a"),
    ({"Tags": [{"Key": "aws:x", "Value": ""}]}, "aws: prefixed tag key names are not allowed"),
    ({"TensorBoardOutputConfig": {"S3OutputPath": "s3://x"}}, "TensorBoardOutputConfig"),
    ({"RemoteDebugConfig": {"EnableRemoteDebug": True}}, "RemoteDebugConfig"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_request_against_the_rules_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        check_request(request(**changes))
    assert words in caught.value.message


ALLOWED: list[dict[str, Any]] = [
    {},
    {"InputDataConfig": [channel(), channel("labels", "s3://bucket/labels.csv", InputMode="FastFile")]},
    {"ResourceConfig": {**RESOURCES, "InstanceType": "ml.m5.large", "VolumeKmsKeyId": "key"}},
    {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
        "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints/", "LocalPath": "/opt/ml/checkpoints"},
    },
    {"AlgorithmSpecification": {**ALGORITHM, "TrainingImage": IMAGE.replace(":v1", "@sha256:" + "0" * 64)}},
]


@pytest.mark.parametrize("changes", ALLOWED)
def test_what_the_rules_allow_passes(changes: dict[str, Any]) -> None:
    check_request(request(**changes))
