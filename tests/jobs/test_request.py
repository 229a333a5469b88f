"""build_request makes exactly what CreateTrainingJob takes, and one drop leads to one name."""

import dataclasses
import re
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from tests.jobs.examples import LOCATION, PLATFORM, SMALLEST, parsed
from training.jobs import contract
from training.jobs.algorithms import ALGORITHMS
from training.jobs.instance_types import INSTANCE_TYPES
from training.jobs.limits import RequestError
from training.jobs.platform import Platform
from training.jobs.request import build_request, job_name, model_artifact, output_folder
from training.jobs.uri import S3Uri

SAGEMAKER: Any = botocore.session.get_session().get_service_model("sagemaker")
CREATE: Any = SAGEMAKER.operation_model("CreateTrainingJob").input_shape
FULL = SMALLEST | {
    "channels": {name: f"{name}/" for name in contract.CHANNELS},
    "hyperparameters": {"network": "mbf", "epochs": 3, "lr": 0.1, "flip": False},
    "resources": {"instance_type": "ml.m5.xlarge", "instance_count": 2, "spot": True},
    "governance": {"legal_basis": "consent; art. 9(2)(a)", "contact": "privacy@example.org"},
}


def request_for(document: dict[str, Any], platform: Platform = PLATFORM) -> dict[str, Any]:
    return build_request(parsed(document, platform=platform), platform, "facetrain-example-staff-0123")


@pytest.mark.parametrize("document", [SMALLEST, FULL])
@pytest.mark.parametrize(
    "platform",
    [
        PLATFORM,
        dataclasses.replace(PLATFORM, kms_key_arn=None),
        dataclasses.replace(PLATFORM, subnets=("subnet-1",), security_groups=("sg-1",)),
    ],
)
def test_botocore_accepts_what_is_built(document: dict[str, Any], platform: Platform) -> None:
    report = ParamValidator().validate(request_for(document, platform), CREATE)
    assert not report.has_errors(), report.generate_report()


def test_each_channel_is_one_input() -> None:
    inputs = request_for(FULL)["InputDataConfig"]
    assert [entry["ChannelName"] for entry in inputs] == sorted(contract.CHANNELS)
    assert inputs[1]["DataSource"]["S3DataSource"]["S3Uri"] == str(LOCATION.folder) + "images/"


def test_fast_file_is_for_folders_of_data_alone() -> None:
    several = FULL | {"input_mode": "FastFile"}
    modes = {entry["ChannelName"]: entry["InputMode"] for entry in request_for(several)["InputDataConfig"]}
    assert {name for name, mode in modes.items() if mode == "FastFile"} == {"images", "validation"}
    assert set(modes.values()) == {"File", "FastFile"}


def test_fast_file_is_never_asked_for_what_may_be_a_part_of_a_prefix() -> None:
    """The service refuses it: "partial S3 prefix is not supported"."""
    one_file = SMALLEST | {"channels": {"images": "images/000000.tar"}, "input_mode": "FastFile"}
    (entry,) = request_for(one_file)["InputDataConfig"]
    assert entry["InputMode"] == "File"


def test_only_hyperparameters_that_the_manifest_names_are_sent_so_that_train_args_can_rank_below() -> None:
    expected = {"algorithm": "arcface", "network": "mbf", "epochs": "3", "lr": "0.1", "flip": "false"}
    assert request_for(FULL)["HyperParameters"] == expected
    assert request_for(SMALLEST)["HyperParameters"] == {"algorithm": "arcface"}


def test_volume_keys_are_left_out_where_the_disk_is_local_nvme() -> None:
    with_ebs, with_nvme = "ml.m5.xlarge", "ml.g6.xlarge"
    config = request_for(SMALLEST | {"resources": {"instance_type": with_ebs}})["ResourceConfig"]
    assert config["VolumeKmsKeyId"] == PLATFORM.kms_key_arn
    config = request_for(SMALLEST | {"resources": {"instance_type": with_nvme}})["ResourceConfig"]
    assert "VolumeKmsKeyId" not in config


def test_only_spot_jobs_wait() -> None:
    stopping = request_for(SMALLEST | {"resources": {"spot": False}})["StoppingCondition"]
    assert stopping == {"MaxRuntimeInSeconds": 24 * 3600}
    stopping = request_for(SMALLEST | {"resources": {"spot": True}})["StoppingCondition"]
    assert stopping["MaxWaitTimeInSeconds"] == 48 * 3600


def test_governance_is_carried_into_tags_in_their_alphabet_but_never_the_contact() -> None:
    tags = {tag["Key"]: tag["Value"] for tag in request_for(FULL)["Tags"]}
    assert tags["facetrain:legal-basis"] == "consent_ art. 9_2__a_"
    assert "privacy@example.org" not in tags.values()
    pattern = SAGEMAKER.shape_for("TagValue").metadata["pattern"].replace(r"\p{L}\p{Z}\p{N}", r"\w\s")
    assert all(re.fullmatch(pattern, value) for value in tags.values())


def test_the_model_card_gets_dataset_and_governance_word_for_word_but_never_the_contact() -> None:
    assert request_for(FULL)["Environment"] == {
        "FACETRAIN_ABOUT_DATASET": "staff",
        "FACETRAIN_ABOUT_LEGAL_BASIS": "consent; art. 9(2)(a)",
    }


def test_the_model_lies_where_sagemaker_puts_it() -> None:
    expected = (
        f"s3://{PLATFORM.outputs_bucket}/outputs/staff/facetrain-example-staff-0123/output/model.tar.gz"
    )
    name = "facetrain-example-staff-0123"
    assert request_for(SMALLEST)["OutputDataConfig"]["S3OutputPath"] == str(output_folder(PLATFORM, "staff"))
    assert str(model_artifact(PLATFORM, "staff", name)) == expected


@pytest.mark.parametrize(
    ("platform", "path"),
    [
        (
            dataclasses.replace(PLATFORM, images={"arcface": "i" * 256}),
            "AlgorithmSpecification.TrainingImage",
        ),
        (dataclasses.replace(PLATFORM, tags={f"k{n}": "v" for n in range(50)}), "Tags"),
        (dataclasses.replace(PLATFORM, tags={"aws:k": "v"}), "Tags.aws:k"),
        (dataclasses.replace(PLATFORM, tags={"k" * 129: "v"}), f"Tags.{'k' * 129}"),
    ],
)
def test_a_broken_limit_is_named_before_the_call(platform: Platform, path: str) -> None:
    with pytest.raises(RequestError) as caught:
        request_for(SMALLEST, platform)
    assert path in [problem.path for problem in caught.value.problems]


def test_a_hyperparameter_that_is_too_long_is_named() -> None:
    with pytest.raises(RequestError, match=r"HyperParameters\.pretrained: has 300 characters"):
        request_for(SMALLEST | {"hyperparameters": {"pretrained": "x" * 300}})


def test_a_wrong_job_name_is_named() -> None:
    with pytest.raises(RequestError, match="TrainingJobName"):
        build_request(parsed(SMALLEST), PLATFORM, "no_underscores")


NAMES = st.text(
    st.characters(exclude_characters="/", exclude_categories=("Cs", "Cc")), min_size=1, max_size=80
)


@given(NAMES, st.text(max_size=40), st.text(max_size=40))
def test_any_dataset_gets_a_valid_name_that_depends_on_the_version_alone(
    dataset: str, one: str, other: str
) -> None:
    location = S3Uri(PLATFORM.inputs_bucket, f"inputs/{dataset}/manifest.json")
    name = job_name(PLATFORM, location, dataset, one)
    assert len(name) <= contract.JOB_NAME_LIMIT
    assert re.fullmatch(contract.JOB_NAME_PATTERN, name)
    assert name.startswith(PLATFORM.job_prefix + "-")
    assert name == job_name(PLATFORM, location, dataset, one)
    assert (name == job_name(PLATFORM, location, dataset, other)) == (one == other)


def test_overrides_make_another_job_of_the_same_drop() -> None:
    plain = job_name(PLATFORM, LOCATION, "staff", "v1")
    assert plain == job_name(PLATFORM, LOCATION, "staff", "v1", {})
    assert plain != job_name(PLATFORM, LOCATION, "staff", "v1", {"hyperparameters": {"epochs": 2}})


def test_a_deployment_survives_its_json() -> None:
    platform = dataclasses.replace(PLATFORM, allowed_buckets=("shared-faces",), tags={"team": "vision"})
    assert Platform.from_json(platform.to_json()) == platform


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stage": "dev"}', '{"unknown": 1}'])
def test_a_deployment_written_by_another_version_says_to_deploy_again(text: str) -> None:
    with pytest.raises(ValueError, match="deploy again"):
        Platform.from_json(text)


# -- the tables of limits and types, against botocore's service model --


def test_the_limits_are_the_service_models() -> None:
    members = CREATE.members
    assert members["TrainingJobName"].metadata["max"] == contract.JOB_NAME_LIMIT
    assert members["HyperParameters"].metadata["max"] == contract.HYPERPARAMETERS_LIMIT
    assert members["HyperParameters"].key.metadata["max"] == contract.HYPERPARAMETER_KEY_LIMIT
    assert members["InputDataConfig"].metadata["max"] == contract.CHANNELS_LIMIT
    assert members["Environment"].value.metadata["max"] == contract.ENVIRONMENT_VALUE_LIMIT
    assert members["Tags"].metadata["max"] == contract.TAGS_LIMIT
    algorithm = members["AlgorithmSpecification"].members
    assert algorithm["TrainingImage"].metadata["max"] == contract.IMAGE_URI_LIMIT
    assert algorithm["MetricDefinitions"].metadata["max"] == contract.METRICS_LIMIT
    assert (
        algorithm["MetricDefinitions"].member.members["Regex"].metadata["max"] == contract.METRIC_REGEX_LIMIT
    )


def test_the_instance_types_are_the_service_models() -> None:
    assert set(SAGEMAKER.shape_for("TrainingInstanceType").enum) == INSTANCE_TYPES


def test_metric_regexes_read_the_lines_that_they_are_for() -> None:
    lines = (
        "epoch=1 step=20/300 loss=12.3456 lr=2.00e-02 images_per_second=41.2\n"
        "verification accuracy_before=0.5 accuracy=0.9312 eer=0.07 auc=0.98 "
        "tar_at_far_1e-2=0.81 tar_at_far_1e-3=0.7 rank_1=0.9\n"
    )
    found = {}
    for metric in ALGORITHMS["arcface"].metrics:
        match = re.search(metric.regex, lines)
        assert match, metric
        found[metric.name] = float(match[1])
    assert found == {
        "train:loss": 12.3456,
        "train:lr": 0.02,
        "train:images_per_second": 41.2,
        "validation:accuracy": 0.9312,
        "validation:tar_at_far_1e-2": 0.81,
        "validation:tar_at_far_1e-3": 0.7,
        "validation:eer": 0.07,
        "validation:auc": 0.98,
        "validation:rank_1": 0.9,
    }
