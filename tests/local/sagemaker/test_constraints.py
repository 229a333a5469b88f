"""The service model's constraints, in AWS's words, which are taken from users' reports of real answers."""

from typing import Any

import botocore.session
import pytest
from botocore.model import OperationModel, Shape, StructureShape

from facetrain.local.sagemaker import constraints
from facetrain.local.sagemaker.errors import ServiceError, ValidationError

OPERATIONS = (
    "CreateTrainingJob",
    "DescribeTrainingJob",
    "ListTrainingJobs",
    "StopTrainingJob",
    "AddTags",
    "DeleteTags",
    "ListTags",
)
MODEL = botocore.session.get_session().get_service_model("sagemaker")
JOB = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"


def shape(operation: str) -> Shape:
    found: OperationModel = MODEL.operation_model(operation)
    assert found.input_shape is not None
    return found.input_shape


def request(**changes: Any) -> dict[str, Any]:
    whole = {
        "TrainingJobName": "a-job",
        "AlgorithmSpecification": {"TrainingImage": "an-image", "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::000000000000:role/job",
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def refusal(**changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        constraints.check(shape("CreateTrainingJob"), request(**changes))
    return caught.value.message


def one(value: str, place: str, constraint: str) -> str:
    return (
        f"1 validation error detected: Value {value} at '{place}' failed to satisfy constraint: {constraint}"
    )


def test_a_lawful_request_passes() -> None:
    constraints.check(shape("CreateTrainingJob"), request())


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"TrainingJobName": "my_job"},
        one("'my_job'", "trainingJobName", f"Member must satisfy regular expression pattern: {JOB}"),
    ),
    (
        {"TrainingJobName": "a" * 64},
        "2 validation errors detected: "
        f"Value '{'a' * 64}' at 'trainingJobName' failed to satisfy constraint: Member must have length less "
        f"than or equal to 63; Value '{'a' * 64}' at 'trainingJobName' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {JOB}",
    ),
    ({"RoleArn": None}, one("null", "roleArn", "Member must not be null")),
    (
        {"OutputDataConfig": {}},
        one("null", "outputDataConfig.s3OutputPath", "Member must not be null"),
    ),
    (
        {"AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "Stream"}},
        one(
            "'Stream'",
            "algorithmSpecification.trainingInputMode",
            "Member must satisfy enum value set: [Pipe, File, FastFile]",
        ),
    ),
    (
        {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
        one(
            "'0'",
            "stoppingCondition.maxRuntimeInSeconds",
            "Member must have value greater than or equal to 1",
        ),
    ),
    (
        {"InputDataConfig": []},
        one("'[]'", "inputDataConfig", "Member must have length greater than or equal to 1"),
    ),
    (
        {"Tags": [{"Key": "a", "Value": "b"}, {"Key": "semi;colon", "Value": ""}]},
        one(
            "'semi;colon'",
            "tags.2.member.key",
            r"Member must satisfy regular expression pattern: ([\p{L}\p{Z}\p{N}_.:/=+\-@]*)",
        ),
    ),
    (
        {"Environment": {"1st": "x"}},
        one(
            """'{"1st": "x"}'""",
            "environment",
            "Map keys must satisfy constraint: [Member must have length less than or equal to 512, Member "
            "must have length greater than or equal to 0, Member must satisfy regular expression pattern: "
            "[a-zA-Z_][a-zA-Z0-9_]*]",
        ),
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[next(iter(c)) for c, _ in WRONG])
def test_a_broken_constraint_is_named_as_aws_names_it(changes: dict[str, Any], message: str) -> None:
    assert refusal(**changes) == message


def test_an_instance_type_that_does_not_exist_is_refused_with_those_that_do() -> None:
    message = refusal(ResourceConfig={"InstanceType": "ml.huge", "InstanceCount": 1})
    assert "'ml.huge' at 'resourceConfig.instanceType'" in message
    assert "ml.g6.xlarge" in message


def test_every_broken_constraint_is_told_at_once() -> None:
    message = refusal(RoleArn="no-role", TrainingJobName="a_b", OutputDataConfig={"S3OutputPath": "ftp://x"})
    assert message.startswith("4 validation errors detected: ")  # the role breaks both length and pattern


def test_a_hyperparameter_that_is_a_number_is_a_serialization_error() -> None:
    with pytest.raises(ServiceError) as caught:
        constraints.check(shape("CreateTrainingJob"), request(HyperParameters={"epochs": 20}))
    assert caught.value.code == "SerializationException"
    assert caught.value.message == "NUMBER_VALUE can not be converted to String (at 'hyperParameters.epochs')"


def test_tags_may_be_in_any_language() -> None:
    constraints.check(shape("CreateTrainingJob"), request(Tags=[{"Key": "Größe Ⅷ", "Value": "大きい"}]))


def patterns(part: Shape, seen: set[str]) -> set[str]:
    if part.name in seen:
        return set()
    seen.add(part.name)
    own = {part.metadata["pattern"]} if "pattern" in part.metadata else set()
    if isinstance(part, StructureShape):
        children: list[Shape] = list(part.members.values())
    else:
        children = [getattr(part, name) for name in ("member", "key", "value") if hasattr(part, name)]
    for child in children:
        own |= patterns(child, seen)
    return own


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_pattern_of_the_model_is_one_that_python_can_read(operation: str) -> None:
    for java in patterns(shape(operation), set()):
        assert r"\p" not in constraints.pattern(java).pattern
