"""Everything that can be wrong is told in one sentence with its option, before anything is created."""

from importlib import metadata

import pytest

from facetrain.by_hand import image
from tests.by_hand.conftest import DEPLOYED, ORDER, PUSHED, ROLE, Account, TrainingJob


def refused(training_job: TrainingJob, *arguments: str) -> list[str]:
    """What is said of an order that is refused."""
    ran = training_job(*arguments)
    assert ran.code == 2, ran
    assert ran.out == ""
    return ran.err.splitlines()


def test_all_mistakes_are_told_at_once_by_their_options(training_job: TrainingJob) -> None:
    image.FILE.unlink()
    said = refused(
        training_job,
        *("--labels", "labels.csv", "--inputs", "s3:/team/x", "--set", "epoch=3", "--set", "lr=high"),
        *("--instance-type", "ml.g6.xlage", "--instance-count", "0", "--volume-gb", "0", "--max-hours", "0"),
        *("--output", "s3://T/x", "--base-job-name", "my_job"),
    )
    assert [line.partition(": ")[0] for line in said] == [
        "--base-job-name",
        "--labels",
        "--images",
        "--inputs",
        "--output",
        "--set epoch=3",
        "--set lr=high",
        "ecr_image_fullname.txt",
        "--instance-type",
        "--instance-count",
        "--volume-gb",
        "--max-hours",
    ]
    assert said[2] == "--images: is missing: name the S3 folder, such as --images s3://bucket/images/"
    assert 'did you mean "epochs"' in said[5]
    assert 'did you mean "ml.g6.xlarge"' in said[8]


def test_an_algorithm_and_its_channels_and_hyperparameters_are_checked_together(
    training_job: TrainingJob,
) -> None:
    (said,) = refused(training_job, *ORDER, "--algorithm", "yolo5")
    assert said == '--algorithm: "yolo5" is not known (did you mean "yolov5"?)'
    wrong = ("--landmarks", "s3://team/l.csv", "--set", "margin=1", "--instance-count", "2")
    said, knob, machines = refused(training_job, *ORDER, "--algorithm", "yolov5", *wrong)
    assert said.startswith("--landmarks: yolov5 has no such channel (known: images, labels, cfg, weights)")
    assert knob.startswith("--set margin=1: no such hyperparameter")
    assert machines == "--instance-count: yolov5 trains on one machine: write 1"


def test_problems_are_data_too_with_json(training_job: TrainingJob) -> None:
    ran = training_job("--images", "faces", "--json")
    assert ran.code == 2
    assert '"path": "--images"' in ran.out


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (None, "is not there: run ./build-and-push.sh face-training"),
        (PUSHED.partition("@")[0] + ":latest", "is no immutable address"),
        ("", "is no immutable address"),
    ],
)
def test_only_an_immutable_address_is_taken_from_the_file(
    training_job: TrainingJob, written: str | None, expected: str
) -> None:
    image.FILE.unlink() if written is None else image.FILE.write_text(written)
    (said,) = refused(training_job, *ORDER)
    assert said.startswith("ecr_image_fullname.txt: ")
    assert expected in said
    assert "./build-and-push.sh" in said


def test_a_detectors_job_is_told_how_its_image_is_pushed(training_job: TrainingJob) -> None:
    image.FILE.unlink()
    (said,) = refused(training_job, "--algorithm", "yolov5", "--labels", "s3://team/labels", *ORDER)
    assert "run ./build-and-push.sh yolov5-training --target yolov5, which writes it" in said


def test_a_detectors_job_needs_the_names_of_its_classes(training_job: TrainingJob, account: Account) -> None:
    (said,) = refused(training_job, "--algorithm", "yolov5", *ORDER[:4], "--output", "s3://team/results")
    assert said == "--cfg: is missing: name the S3 folder, such as --cfg s3://bucket/cfg/"
    elsewhere = ("--inputs", "s3://team/elsewhere")
    (said,) = refused(training_job, "--algorithm", "yolov5", *ORDER[:4], *elsewhere)
    assert said == (
        "--inputs: s3://team/elsewhere/input/data/cfg/ holds nothing, and yolov5 needs it: `facetrain inputs "
        "push` uploads it"
    )


def test_an_order_without_a_place_for_the_results_says_so(training_job: TrainingJob) -> None:
    (said,) = refused(training_job, "--role", ROLE, "--images", "s3://team/faces")
    assert said.startswith("--output: is missing")


def test_a_role_is_needed_where_nothing_is_deployed(training_job: TrainingJob) -> None:
    (said,) = refused(training_job, *ORDER[2:])
    assert said.startswith('--role: is missing, and there is no deployment "dev" in us-east-1')


def test_a_deployment_that_may_not_be_looked_up_is_as_none(
    training_job: TrainingJob, account: Account
) -> None:
    del account.aws.handlers["AmazonSSM.GetParameter"]
    assert refused(training_job, *ORDER[2:])[0].startswith("--role: is missing")


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("nobody", 'there is no role "nobody" in this account'),
        ("arn:aws:iam::1:user/x", "is no role: write arn:aws:iam::ACCOUNT:role/NAME"),
    ],
)
def test_a_wrong_role_is_told(training_job: TrainingJob, role: str, expected: str) -> None:
    (said,) = refused(training_job, "--role", role, *ORDER[2:])
    assert said.startswith("--role: ")
    assert expected in said


def test_a_mode_that_there_is_not_is_told(training_job: TrainingJob) -> None:
    (said,) = refused(training_job, *ORDER, "--input-mode", "fast")
    assert said == '--input-mode: "fast" is not known (did you mean "FastFile"?)'


def test_the_deployments_role_pulls_only_the_deployments_image(
    training_job: TrainingJob, account: Account
) -> None:
    account.deployed = True
    (said,) = refused(training_job, *ORDER[2:])
    assert said.startswith("--role: is missing")
    assert "./build-and-push.sh facetrain-dev/arcface" in said


def test_the_deployments_role_writes_only_to_the_deployments_bucket(
    training_job: TrainingJob, account: Account
) -> None:
    account.deployed = True
    own = ("--image", DEPLOYED.images["arcface"], "--output", "s3://team/models")
    (said,) = refused(training_job, *ORDER[2:], *own)
    assert said.startswith("--output: is for jobs with a role of their own (--role)")


def test_an_image_in_another_region_is_told_before_anything_is_asked(training_job: TrainingJob) -> None:
    elsewhere = PUSHED.replace("us-east-1", "eu-central-1")
    (said,) = refused(training_job, *ORDER, "--image", elsewhere)
    assert "lies in eu-central-1, but the job would run in us-east-1: set AWS_REGION=eu-central-1" in said


def test_a_bucket_in_another_region_is_told(training_job: TrainingJob, account: Account) -> None:
    account.put("far")
    account.aws.bucket_regions["far"] = "us-west-2"
    (said,) = refused(training_job, *ORDER, "--labels", "s3://far/labels.csv")
    assert said.startswith('--labels: the bucket "far" is in us-west-2, but the job would run in us-east-1')


def test_buckets_that_are_not_there_are_told_all_at_once(training_job: TrainingJob) -> None:
    said = refused(training_job, *ORDER, "--validation", "s3://nowhere/v", "--output", "s3://nobodys/models")
    assert said == ['--validation: there is no bucket "nowhere"', '--output: there is no bucket "nobodys"']


def test_a_channel_without_objects_is_told_with_the_nearest_name(training_job: TrainingJob) -> None:
    said = refused(
        training_job, "--role", ROLE, "--inputs", "s3://team/face-inputs", "--images", "s3://team/face"
    )
    assert said == ['--images: "face/" holds no objects in s3://team/ (did you mean "faces/"?)']


def test_a_channel_in_an_empty_folder_is_to_be_uploaded(training_job: TrainingJob, account: Account) -> None:
    account.put("new")
    (said,) = refused(training_job, *ORDER, "--labels", "s3://new/labels.csv")
    assert said == '--labels: there is no object "labels.csv" in s3://new/: upload the data first'


@pytest.mark.parametrize(
    ("code", "message", "exit_code", "expected"),
    [
        ("ResourceInUse", "taken", 1, "exists already: run the command again for a new name"),
        (
            "ResourceLimitExceeded",
            "The account-level service limit is 0 Instances.",
            1,
            "no quota for 1 spot ml.g6.xlarge: ask for more under Service Quotas",
        ),
        (
            "ValidationException",
            "Could not assume role.",
            2,
            "SageMaker: refuses the job: Could not assume role",
        ),
        ("AccessDeniedException", "no iam:PassRole", 1, "these credentials lack that permission"),
    ],
)
def test_what_sagemaker_answers_is_one_sentence(
    training_job: TrainingJob, account: Account, code: str, message: str, exit_code: int, expected: str
) -> None:
    account.refuse(code, message)
    ran = training_job(*ORDER)
    assert ran.code == exit_code
    assert expected in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_missing_sdk_is_told_before_anything_is_asked(
    training_job: TrainingJob, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    ran = training_job(*ORDER)
    assert ran.code == 1
    assert "the SageMaker Python SDK is not installed: `uv pip install -e '.[sdk]'" in ran.err
    assert account.aws.requests == []
    assert training_job.dry(*ORDER)["RoleArn"] == ROLE


def test_version_2_of_the_sdk_is_too_old(training_job: TrainingJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "2.249.0")
    assert "version 2.249.0 of the SageMaker Python SDK is too old" in training_job(*ORDER).err
