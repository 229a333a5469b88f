"""A dataset and its manifest dropped with the AWS command line become a model, and nothing else does."""

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.whole_path.account import QUICK, Account, manifest, until
from training.jobs import contract
from training.jobs.request import job_record
from training.jobs.uri import S3Uri

pytestmark = pytest.mark.cloud


def test_a_drop_with_the_aws_command_line_ends_with_a_model_in_s3(
    account: Account, faces: Path, tmp_path: Path
) -> None:
    account.upload("dropped", faces)
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(manifest()))
    done = account.aws("s3", "cp", str(file), str(account.manifest_uri("dropped")))
    assert done.returncode == 0, done.stderr
    until(lambda: any("-dropped-" in name for name in account.names()), "the job to start")
    (name,) = [name for name in account.names() if "-dropped-" in name]

    assert account.wait_for_end(name)["TrainingJobStatus"] == "Completed"

    described = account.aws_json("sagemaker", "describe-training-job", "--training-job-name", name)
    assert described["SecondaryStatus"] == "Completed"
    steps = [step["Status"] for step in described["SecondaryStatusTransitions"]]
    assert [step for step in steps if step != "Pending"] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert {"train:loss"} <= {metric["MetricName"] for metric in described["FinalMetricDataList"]}

    model = S3Uri.parse(described["ModelArtifacts"]["S3ModelArtifacts"])
    with tarfile.open(fileobj=io.BytesIO(account.read(model))) as archive:
        assert {"backbone.pth", "model.onnx", "metrics.json"} <= {
            Path(entry).name for entry in archive.getnames()
        }

    events = account.aws_json(
        "logs", "filter-log-events", "--log-group-name", contract.LOG_GROUP, "--log-stream-name-prefix", name
    )
    assert any("loss=" in event["message"] for event in events["events"])

    record = json.loads(account.read(job_record(account.deployment.platform, "dropped", name)))
    assert record["request"]["TrainingJobName"] == name


def test_a_copy_of_an_event_starts_no_second_job(account: Account, faces: Path) -> None:
    account.upload("twice", faces)
    name = account.drop("twice", manifest())
    account.wait_for_start(name)
    uri = account.manifest_uri("twice")
    head = account.deployment.s3.head_object(Bucket=uri.bucket, Key=uri.key)
    detail = {
        "bucket": {"name": uri.bucket},
        "object": {"key": uri.key, "version-id": head["VersionId"], "etag": head["ETag"].strip('"')},
    }
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    sqs = account.deployment.connection.client("sqs")
    queue = sqs.get_queue_url(QueueName=f"{account.deployment.platform.job_prefix}-launch")["QueueUrl"]
    for _ in range(3):
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))
    until(lambda: pending(sqs, queue) == 0, "the copies to be consumed")
    assert [other for other in account.names() if "-twice-" in other] == [name]


def pending(sqs: object, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]  # type: ignore[attr-defined]
    return sum(int(value) for value in attributes.values())


def test_two_drops_within_a_second_and_an_unchanged_one_are_each_a_job_of_their_own(
    account: Account, faces: Path
) -> None:
    account.upload("often", faces)
    stopped = manifest(hyperparameters=QUICK | {"max_steps": 1})
    names = {
        account.drop("often", manifest()),
        account.drop("often", stopped),
        account.drop("often", stopped),
    }
    assert len(names) == 3
    for name in names:
        account.wait_for_start(name)
    assert {name for name in account.names() if "-often-" in name} == names


def test_a_bad_manifest_is_answered_beside_it_and_a_corrected_one_clears_the_answer(
    account: Account, faces: Path
) -> None:
    account.upload("wrong", faces)
    rejection = dataclasses.replace(account.manifest_uri("wrong"), key="inputs/wrong/manifest.rejected.json")
    account.drop("wrong", manifest(channels={"image": "images/"}, hyperparameters={"epochs": 0}))
    until(lambda: account.exists(rejection), "the rejection")
    errors = json.loads(account.read(rejection))["errors"]
    assert {error["path"] for error in errors} == {
        "channels.images",
        "channels.image",
        "hyperparameters.epochs",
    }
    assert not [name for name in account.names() if "-wrong-" in name]

    name = account.drop("wrong", manifest())
    account.wait_for_start(name)
    until(lambda: not account.exists(rejection), "the rejection to be cleared")


def test_a_manifest_dropped_before_its_data_says_to_upload_them(account: Account) -> None:
    account.drop("early", manifest())
    rejection = S3Uri(account.manifest_uri("early").bucket, "inputs/early/manifest.rejected.json")
    until(lambda: account.exists(rejection), "the rejection")
    (error,) = json.loads(account.read(rejection))["errors"]
    assert error["path"] == "channels.images"
    assert "upload the data" in error["message"]


def test_an_invocation_by_hand_answers_with_the_job_or_the_errors(
    account: Account, faces: Path, tmp_path: Path
) -> None:
    account.upload("byhand", faces)
    name = account.drop("byhand", manifest())
    answer = invoke(account, {"manifest": str(account.manifest_uri("byhand"))}, tmp_path)
    assert answer["job_name"] == name
    assert answer["job_arn"].endswith(f":training-job/{name}")
    assert [other for other in account.names() if "-byhand-" in other] == [name]

    answer = invoke(account, {"manifest": str(account.manifest_uri("nothere"))}, tmp_path)
    assert answer["errors"]


def invoke(account: Account, payload: dict[str, str], tmp_path: Path) -> dict[str, str]:
    out = tmp_path / "answer.json"
    account.aws_json(
        "lambda",
        "invoke",
        "--function-name",
        account.deployment.function_name,
        "--payload",
        json.dumps(payload),
        str(out),
    )
    return json.loads(out.read_text())  # type: ignore[no-any-return]


def test_stop_training_job_stops_a_running_job_and_keeps_its_checkpoint(
    account: Account, faces: Path
) -> None:
    account.upload("stopped", faces)
    endless = QUICK | {"epochs": 1000, "max_steps": 0}
    name = account.drop(
        "stopped",
        manifest(hyperparameters=endless, resources={"instance_type": "ml.m5.xlarge", "spot": False}),
    )
    account.wait_for_start(name)
    until(lambda: account.describe(name)["SecondaryStatus"] == "Training", "training")
    until(lambda: "step=" in logged(account, name), "the first steps")
    assert account.aws("sagemaker", "stop-training-job", "--training-job-name", name).returncode == 0
    job = account.wait_for_end(name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    checkpoints = S3Uri.parse(job["CheckpointConfig"]["S3Uri"])
    listed = account.deployment.s3.list_objects_v2(Bucket=checkpoints.bucket, Prefix=checkpoints.key)
    assert listed["KeyCount"] > 0


def logged(account: Account, name: str) -> str:
    logs = account.deployment.connection.client("logs")
    found = logs.filter_log_events(logGroupName=contract.LOG_GROUP, logStreamNamePrefix=name)
    return "\n".join(event["message"] for event in found["events"])


def test_two_instances_train_one_model_together(account: Account, faces: Path) -> None:
    account.upload("pair", faces)
    name = account.drop("pair", manifest(resources={"instance_type": "ml.m5.xlarge", "instance_count": 2}))
    job = account.wait_for_end(name)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    streams = account.aws_json(
        "logs",
        "describe-log-streams",
        "--log-group-name",
        contract.LOG_GROUP,
        "--log-stream-name-prefix",
        name,
    )["logStreams"]
    hosts = {stream["logStreamName"].split("/")[1].rpartition("-")[0] for stream in streams}
    assert hosts == {"algo-1", "algo-2"}
    assert "ranks=2" in logged(account, name)
