"""What is asked of SageMaker: shown by a dry run, made by build_request, and sent by the SDK as it is."""

import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from tests.by_hand.conftest import CFG, DEPLOYED, ORDER, PUSHED, ROLE, WEIGHTS, Account, TrainingJob


def channels_of(request: dict[str, object]) -> dict[str, str]:
    inputs = request["InputDataConfig"]
    assert isinstance(inputs, list)
    return {channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in inputs}


def test_what_a_dry_run_prints_is_what_is_sent(
    training_job: TrainingJob, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = "20260630-093000"
    monkeypatch.setattr("facetrain.by_hand.start.job_name", lambda platform, now: f"face-training-{moment}")
    options = (
        *ORDER,
        "--set",
        "epochs=3",
        "--set",
        "flip=false",
        "--instance-count",
        "2",
        "--max-hours",
        "1.5",
    )
    shown = training_job.dry(*options)
    assert training_job(*options).code == 0
    assert list(account.jobs.values()) == [shown]


def test_a_dry_run_sends_nothing(training_job: TrainingJob, account: Account) -> None:
    training_job.dry(*ORDER)
    assert not [request for request in account.aws.requests if request.startswith("SageMaker")]


def test_botocore_accepts_the_request(training_job: TrainingJob) -> None:
    model: Any = botocore.session.get_session().get_service_model("sagemaker")
    request = training_job.dry(*ORDER, "--no-spot")
    report = ParamValidator().validate(request, model.operation_model("CreateTrainingJob").input_shape)
    assert not report.has_errors(), report.generate_report()


def test_the_image_is_the_one_that_was_pushed_last(training_job: TrainingJob) -> None:
    assert training_job.dry(*ORDER)["AlgorithmSpecification"]["TrainingImage"] == PUSHED


def test_images_can_be_read_from_s3_as_they_are_trained_on(training_job: TrainingJob) -> None:
    inputs = training_job.dry(*ORDER, "--input-mode", "FastFile")["InputDataConfig"]
    assert {one["ChannelName"]: one["InputMode"] for one in inputs} == {"images": "FastFile", "cfg": "File"}


def test_the_inputs_folder_gives_the_channels_that_it_holds(
    training_job: TrainingJob, account: Account
) -> None:
    assert channels_of(training_job.dry(*ORDER)) == {"images": "s3://team/faces/", "cfg": f"s3://team/{CFG}/"}
    account.put(f"team/{WEIGHTS}/backbone.pth")
    assert channels_of(training_job.dry(*ORDER))["weights"] == f"s3://team/{WEIGHTS}/"


def test_a_channel_that_is_named_ranks_above_the_inputs_folder(training_job: TrainingJob) -> None:
    assert channels_of(training_job.dry(*ORDER, "--cfg", "s3://team/other"))["cfg"] == "s3://team/other/"


def test_results_and_checkpoints_go_to_the_inputs_folder_where_no_output_is_named(
    training_job: TrainingJob,
) -> None:
    request = training_job.dry(*ORDER)
    assert request["OutputDataConfig"] == {"S3OutputPath": "s3://team/face-inputs/results/"}
    place = f"s3://team/face-inputs/results/checkpoints/{request['TrainingJobName']}/"
    assert request["CheckpointConfig"]["S3Uri"] == place
    request = training_job.dry(*ORDER, "--output", "s3://elsewhere/models")
    assert request["OutputDataConfig"] == {"S3OutputPath": "s3://elsewhere/models/"}


def test_options_become_machines_hyperparameters_and_a_name(training_job: TrainingJob) -> None:
    options = ("--instance-type", "ml.g5.2xlarge", "--volume-gb", "250", "--no-spot", "--set", "lr=0.1")
    request = training_job.dry(*ORDER, *options, "--base-job-name", "staff")
    assert request["ResourceConfig"] == {
        "InstanceType": "ml.g5.2xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 250,
    }
    assert not request["EnableManagedSpotTraining"]
    assert request["HyperParameters"] == {"algorithm": "arcface", "lr": "0.1"}
    assert request["TrainingJobName"].startswith("staff-2")


def test_tags_say_which_inputs_a_job_is_of_and_name_no_manifest(training_job: TrainingJob) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in training_job.dry(*ORDER)["Tags"]}
    assert tags == {
        "facetrain:stage": "by-hand",
        "facetrain:dataset": "face-inputs",
        "facetrain:inputs": "s3://team/face-inputs/",
    }


def test_a_role_may_be_named_without_its_arn(training_job: TrainingJob) -> None:
    request = training_job.dry("--role", "face-training", *ORDER[2:])
    assert request["RoleArn"] == ROLE


def test_without_a_role_the_job_is_one_of_the_deployment(training_job: TrainingJob, account: Account) -> None:
    account.deployed = True
    request = training_job.dry(*ORDER[2:], "--image", DEPLOYED.images["arcface"])
    assert request["RoleArn"] == DEPLOYED.role_arn
    assert request["TrainingJobName"].startswith("facetrain-dev-face-training-2")
    output = request["OutputDataConfig"]
    assert output["S3OutputPath"] == f"s3://{DEPLOYED.outputs_bucket}/outputs/face-inputs/"
    assert output["KmsKeyId"] == DEPLOYED.kms_key_arn


def test_a_job_of_the_deployment_gets_its_deletion_list_and_another_gets_none(
    training_job: TrainingJob, account: Account
) -> None:
    account.deployed = True
    image = ("--image", DEPLOYED.images["arcface"])
    assert "forgotten" not in channels_of(training_job.dry(*ORDER[2:], *image))
    account.put(f"{DEPLOYED.deletion_list.bucket}/{DEPLOYED.deletion_list.key}")
    found = channels_of(training_job.dry(*ORDER[2:], *image))
    assert found["forgotten"] == f"s3://{DEPLOYED.inputs_bucket}/governance/forgotten/"
    assert "forgotten" not in channels_of(training_job.dry(*ORDER))


def test_in_a_sagemaker_notebook_its_role_is_taken(
    training_job: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Studio describes the notebook in a file, which the SDK reads."""
    file = tmp_path / "resource-metadata.json"
    file.write_text(json.dumps({"ResourceName": "default", "ExecutionRoleArn": ROLE}))
    monkeypatch.setattr("facetrain.by_hand.account.NOTEBOOK", file)
    monkeypatch.setattr("sagemaker.core.helper.session_helper.NOTEBOOK_METADATA_FILE", str(file))
    assert training_job.dry(*ORDER[2:])["RoleArn"] == ROLE


def test_a_dry_run_needs_no_account(training_job: TrainingJob, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    ran = training_job(*ORDER[2:], "--dry-run")
    assert ran.code == 0, ran.err
    assert set(channels_of(json.loads(ran.out))) == {"images", "cfg", "weights"}
    assert "the one shown is made up" in ran.err
    assert "cfg and weights are assumed" in ran.err


def test_a_detectors_request_names_its_algorithm_knobs_and_metrics(training_job: TrainingJob) -> None:
    order = ("--algorithm", "yolov5", *ORDER, "--labels", "s3://team/labels", "--set", "image_size=320")
    request = training_job.dry(*order)
    assert request["HyperParameters"] == {"algorithm": "yolov5", "image_size": "320"}
    assert channels_of(request)["labels"] == "s3://team/labels/"
    names = {metric["Name"] for metric in request["AlgorithmSpecification"]["MetricDefinitions"]}
    assert "validation:map50_95" in names
    assert request["TrainingJobName"].startswith("yolov5-training-2")


def test_a_detector_learns_nobody_and_gets_no_deletion_list(
    training_job: TrainingJob, account: Account
) -> None:
    account.deployed = True
    account.put(f"{DEPLOYED.deletion_list.bucket}/{DEPLOYED.deletion_list.key}")
    order = ("--algorithm", "yolov5", *ORDER[2:], "--image", DEPLOYED.images["yolov5"])
    assert set(channels_of(training_job.dry(*order))) == {"images", "cfg"}
