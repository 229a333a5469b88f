"""`submit`: the request without a cloud, and the job with one."""

import json
from pathlib import Path

import botocore.session
import pytest
from botocore.validate import ParamValidator

from facetrain.errors import InputError
from facetrain.submit import dataset_name
from tests.cli.conftest import PLATFORM, Facetrain
from tests.cli.fake_aws import FakeAws, Object, fields_of
from training.jobs.request import job_name
from training.jobs.uri import S3Uri

SMALLEST = {"schema": 1, "algorithm": "arcface", "channels": {"images": "images/"}}
WRONG = {"schema": 2, "algorithm": "arcface", "chanels": {}, "channels": {"images": "s3://elsewhere/images/"}}
LOCATION = S3Uri(PLATFORM.inputs_bucket, "inputs/staff/manifest.json")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    folder = tmp_path / "staff"
    folder.mkdir()
    path = folder / "manifest.json"
    path.write_text(json.dumps(SMALLEST))
    return path


@pytest.fixture
def launcher(aws: FakeAws) -> FakeAws:
    """An account whose launcher answers as the deployed one does: by the manifest's version."""

    def launch(event: dict[str, str]) -> dict[str, str]:
        location = S3Uri.parse(event["manifest"])
        name = job_name(PLATFORM, location, "staff", aws.objects[f"{location.bucket}/{location.key}"].version)
        return {
            "job_name": name,
            "job_arn": f"arn:aws:sagemaker:us-east-1:0:training-job/{name}",
            "status": "InProgress",
        }

    aws.handlers["invoke"] = launch
    return aws


def put(aws: FakeAws, key: str, text: str = "x", version: str = "v0") -> None:
    aws.objects[f"{PLATFORM.inputs_bucket}/{key}"] = Object(text.encode(), version, None)


def test_a_dry_run_of_a_file_prints_the_request_and_needs_no_cloud(
    no_cloud: Facetrain, manifest: Path
) -> None:
    ran = no_cloud("submit", manifest, "--dry-run")
    assert ran.code == 0
    request = json.loads(ran.out)
    shape = (
        botocore.session.Session()
        .get_service_model("sagemaker")
        .operation_model("CreateTrainingJob")
        .input_shape
    )
    assert shape is not None
    assert not ParamValidator().validate(request, shape).has_errors()
    assert request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"].endswith(
        "/inputs/staff/images/"
    )


def test_a_dry_run_says_which_values_are_made_up_and_why(no_cloud: Facetrain, manifest: Path) -> None:
    said = no_cloud("submit", manifest, "--dry-run").err
    assert "role, image and buckets are made up (You must specify a region" in said


def test_a_dry_run_uses_the_deployment_where_there_is_one(facetrain: Facetrain, manifest: Path) -> None:
    ran = facetrain("submit", manifest, "--dry-run")
    assert json.loads(ran.out)["RoleArn"] == PLATFORM.role_arn
    assert "made up" not in ran.err


def test_a_dry_run_gives_the_job_the_deletion_list_where_there_is_one(
    facetrain: Facetrain, aws: FakeAws, manifest: Path
) -> None:
    assert "forgotten" not in facetrain("submit", manifest, "--dry-run").out
    put(aws, PLATFORM.deletion_list.key)
    request = json.loads(facetrain("submit", manifest, "--dry-run").out)
    assert [one["ChannelName"] for one in request["InputDataConfig"]] == ["forgotten", "images"]


def test_the_dataset_can_be_named_otherwise_than_the_folder(no_cloud: Facetrain, manifest: Path) -> None:
    request = json.loads(no_cloud("submit", manifest, "--dry-run", "--name", "visitors").out)
    assert "/inputs/visitors/images/" in json.dumps(request)


def test_a_refused_manifest_exits_with_2_and_names_every_error(no_cloud: Facetrain, manifest: Path) -> None:
    manifest.write_text(json.dumps(WRONG))
    ran = no_cloud("submit", manifest, "--dry-run")
    assert (ran.code, ran.out) == (2, "")
    lines = ran.err.splitlines()
    assert 'chanels: unknown key (did you mean "channels"?)' in lines
    assert any(line.startswith("schema: 2 is not known") for line in lines)
    assert any(line.startswith('channels.images: "s3://elsewhere/images/" is in a bucket') for line in lines)


def test_with_json_the_errors_are_data(no_cloud: Facetrain, manifest: Path) -> None:
    manifest.write_text(json.dumps(WRONG))
    ran = no_cloud("submit", manifest, "--dry-run", "--json")
    assert ran.code == 2
    assert {error["path"] for error in json.loads(ran.out)["errors"]} >= {
        "schema",
        "chanels",
        "channels.images",
    }


@pytest.mark.parametrize("content", ["{", '"text"', "\xff".encode("latin-1").decode("latin-1") + "{"])
def test_what_is_no_json_object_is_refused(no_cloud: Facetrain, manifest: Path, content: str) -> None:
    manifest.write_text(content)
    ran = no_cloud("submit", manifest, "--dry-run")
    assert ran.code == 2
    assert "$: " in ran.err


def test_a_file_that_is_not_there_is_refused_by_its_name(no_cloud: Facetrain, tmp_path: Path) -> None:
    ran = no_cloud("submit", tmp_path / "none.json", "--dry-run")
    assert ran.code == 2
    assert ran.err.splitlines()[-1] == f"{tmp_path}/none.json: No such file or directory"


def test_a_folder_is_answered_with_the_manifest_in_it(no_cloud: Facetrain, manifest: Path) -> None:
    ran = no_cloud("submit", manifest.parent, "--dry-run")
    assert ran.code == 2
    assert f"did you mean {manifest}?" in ran.err


def test_a_folder_that_cannot_name_a_dataset_is_no_hindrance_to_a_dry_run(
    no_cloud: Facetrain, tmp_path: Path
) -> None:
    path = tmp_path / "My photos" / "manifest.json"
    path.parent.mkdir()
    path.write_text(json.dumps(SMALLEST))
    ran = no_cloud("submit", path, "--dry-run")
    assert ran.code == 0
    assert "-My-photos-" in json.loads(ran.out)["TrainingJobName"]


def test_a_folder_that_cannot_name_a_dataset_asks_for_a_name_before_a_write(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=r'"My photos" cannot name a dataset.*such as "My-photos"'):
        dataset_name(tmp_path / "My photos" / "manifest.json", None)


def test_a_refused_manifest_is_answered_with_its_errors_alone(no_cloud: Facetrain, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(SMALLEST | {"schema": 2, "extra": 1}))
    ran = no_cloud("submit", path, "--dry-run")
    assert ran.code == 2
    assert [line.partition(": ")[0] for line in ran.err.splitlines()] == ["extra", "schema"]
    assert ran.out == ""


def test_a_dry_run_of_an_s3_address_reads_it(facetrain: Facetrain, aws: FakeAws) -> None:
    put(aws, "inputs/staff/manifest.json", json.dumps(SMALLEST), version="v7")
    put(aws, "inputs/staff/images/a/1.jpg")
    ran = facetrain("submit", str(LOCATION), "--dry-run")
    assert json.loads(ran.out)["TrainingJobName"] == job_name(PLATFORM, LOCATION, "staff", "v7")
    assert aws.puts() == []


def test_a_dry_run_of_an_s3_address_finds_empty_channels(facetrain: Facetrain, aws: FakeAws) -> None:
    put(aws, "inputs/staff/manifest.json", json.dumps(SMALLEST))
    put(aws, "inputs/staff/image/a/1.jpg")
    ran = facetrain("submit", str(LOCATION), "--dry-run")
    assert ran.code == 2
    assert ran.err.startswith('channels.images: "images/" holds no objects in')
    assert 'did you mean "image/"?' in ran.err


def test_an_s3_address_without_an_object_is_refused(facetrain: Facetrain) -> None:
    ran = facetrain("submit", str(LOCATION), "--dry-run")
    assert ran.code == 2
    assert ran.err == f"{LOCATION}: there is no such object\n"


def test_an_s3_address_that_cannot_be_reached_is_one_message(no_cloud: Facetrain) -> None:
    ran = no_cloud("submit", "s3://bucket/inputs/staff/manifest.json", "--dry-run")
    assert (ran.code, ran.out) == (1, "")
    assert "sign in" in ran.err.splitlines()[-1] or "region" in ran.err.splitlines()[-1]


def test_something_that_is_no_bucket_is_refused(no_cloud: Facetrain) -> None:
    ran = no_cloud("submit", "s3://NOT_A_BUCKET/manifest.json", "--dry-run")
    assert ran.code == 2
    assert "names no valid bucket" in ran.err


def test_submitting_an_address_prints_job_and_model(facetrain: Facetrain, launcher: FakeAws) -> None:
    put(launcher, "inputs/staff/manifest.json", json.dumps(SMALLEST), version="v7")
    ran = facetrain("submit", str(LOCATION), "--json")
    name = job_name(PLATFORM, LOCATION, "staff", "v7")
    assert json.loads(ran.out) == {
        "job_name": name,
        "job_arn": f"arn:aws:sagemaker:us-east-1:0:training-job/{name}",
        "status": "InProgress",
        "manifest": str(LOCATION),
        "model": f"s3://{PLATFORM.outputs_bucket}/outputs/staff/{name}/output/model.tar.gz",
        "message": "",
    }


def test_submitting_a_file_puts_it_once_and_names_the_job_that_the_drop_starts(
    facetrain: Facetrain, launcher: FakeAws, manifest: Path
) -> None:
    put(launcher, "inputs/staff/images/a/1.jpg")
    ran = facetrain("submit", manifest, "--json")
    assert launcher.puts() == [f"{LOCATION.bucket}/{LOCATION.key}"]
    version = launcher.objects[f"{LOCATION.bucket}/{LOCATION.key}"].version
    assert json.loads(ran.out)["job_name"] == job_name(PLATFORM, LOCATION, "staff", version)


def test_submitting_a_file_whose_data_is_not_there_puts_nothing(
    facetrain: Facetrain, launcher: FakeAws, manifest: Path
) -> None:
    ran = facetrain("submit", manifest)
    assert ran.code == 2
    assert "upload the data, then the manifest again" in ran.err
    assert launcher.puts() == []


def test_what_the_launcher_refuses_is_refused_here(facetrain: Facetrain, aws: FakeAws) -> None:
    put(aws, "inputs/staff/manifest.json", json.dumps(SMALLEST))
    aws.handlers["invoke"] = lambda event: {
        "errors": [{"path": "channels.images", "message": "holds no objects"}]
    }
    ran = facetrain("submit", str(LOCATION))
    assert (ran.code, ran.err) == (2, "channels.images: holds no objects\n")


def test_a_job_that_waits_for_capacity_says_what_it_waits_for(facetrain: Facetrain, aws: FakeAws) -> None:
    put(aws, "inputs/staff/manifest.json", json.dumps(SMALLEST))
    answer = {"job_name": "facetrain-dev-staff-1", "job_arn": None, "status": "waiting for capacity"}
    aws.handlers["invoke"] = lambda event: answer | {"message": "no capacity now for 1 instance(s)"}
    ran = facetrain("submit", str(LOCATION))
    assert ran.code == 0
    assert fields_of(ran.out)["status"] == "waiting for capacity"
    assert ran.err == "no capacity now for 1 instance(s)\n"


def test_a_launcher_that_fails_is_one_message(facetrain: Facetrain, aws: FakeAws) -> None:
    put(aws, "inputs/staff/manifest.json", json.dumps(SMALLEST))
    aws.failing_function = True
    aws.handlers["invoke"] = lambda event: {
        "errorMessage": "AccessDenied: s3:GetObject",
        "errorType": "ClientError",
    }
    ran = facetrain("submit", str(LOCATION))
    assert ran.code == 1
    assert ran.err == "facetrain: facetrain-dev-launch-training failed: AccessDenied: s3:GetObject\n"
