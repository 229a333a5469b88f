"""Jobs from the first byte downloaded to the last uploaded, by real programs, with the job's own role."""

import io
import json
import tarfile
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.sagemaker.conftest import BUCKET, EXECUTION, IMAGE, Place, alive, allow, states

TRAP = "signal.signal(signal.SIGTERM, lambda *_: ((base / 'model/partial').write_text('x'), sys.exit(0)))\n"
SLEEP = "time.sleep(60)"


def channel(
    name: str, uri: str, distribution: str = "FullyReplicated", kind: str = "S3Prefix"
) -> dict[str, Any]:
    source = {"S3DataType": kind, "S3Uri": uri, "S3DataDistributionType": distribution}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def hosts(count: int) -> dict[str, Any]:
    return {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 1}


def checkpoints(prefix: str) -> dict[str, str]:
    return {"S3Uri": f"s3://{BUCKET}/{prefix}"}


def archive(place: Place, name: str, which: str = "model") -> dict[str, str]:
    """The files in a job's model.tar.gz or output.tar.gz, with their text."""
    with tarfile.open(fileobj=io.BytesIO(place.body(f"out/{name}/output/{which}.tar.gz"))) as tar:
        return {m.name: tar.extractfile(m).read().decode() for m in tar.getmembers()}  # type: ignore[union-attr]


def reason(record: Any) -> str:
    assert record["TrainingJobStatus"] == "Failed"
    return str(record["FailureReason"])


# -- What a program is given and what it leaves -------------------------------------------------------------
def test_model_and_output_are_archived_and_the_disk_is_free_again(place: Place) -> None:
    script = (
        "(base / 'model/m.txt').write_text('weights'); (base / 'output/data/report.html').write_text('good')"
    )
    record = place.run(script)
    name = record["TrainingJobName"]
    assert record["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/out/{name}/output/model.tar.gz"
    assert archive(place, name) == {"m.txt": "weights"}
    assert archive(place, name, "output") == {"report.html": "good"}
    assert [path.name for path in (place.state / "jobs" / name).rglob("*")] == ["algo-1"]


def test_an_uncompressed_model_is_a_folder(place: Place) -> None:
    output = {"S3OutputPath": f"s3://{BUCKET}/out", "CompressionType": "NONE"}
    script = "(base / 'model/sub').mkdir(); (base / 'model/sub/m').write_text('weights')"
    record = place.run(script, OutputDataConfig=output)
    address = record["ModelArtifacts"]["S3ModelArtifacts"]
    assert address == f"s3://{BUCKET}/out/{record['TrainingJobName']}/output/model/"
    assert place.body(address.removeprefix(f"s3://{BUCKET}/") + "sub/m") == b"weights"


def test_outputs_and_checkpoints_are_encrypted_with_the_requests_key(place: Place) -> None:
    key = place.client("kms").create_key()["KeyMetadata"]["Arn"]
    role = place.role(allow(*EXECUTION), allow("kms:Decrypt", "kms:GenerateDataKey", resource=key))
    record = place.run(
        "(base / 'model/m').touch(); (base / 'checkpoints/c').touch()",
        RoleArn=role,
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out/", "KmsKeyId": key},
        CheckpointConfig=checkpoints("encrypted/"),
    )
    for path in (f"out/{record['TrainingJobName']}/output/model.tar.gz", "encrypted/c"):
        head = place.client("s3").head_object(Bucket=BUCKET, Key=path)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)


def test_channels_and_configuration_are_where_the_contract_says(place: Place) -> None:
    place.put("data/images/a/1.jpg", b"one")
    place.put("data/images/", b"")  # the console's folder marker
    labels = place.put("data/labels.csv", b"file,id")
    listing = place.put(
        "data/list.manifest", json.dumps([{"prefix": f"s3://{BUCKET}/data/"}, "labels.csv"]).encode()
    )
    script = """
data = base / "input/data"
found = {str(p.relative_to(data)): p.read_text() for p in sorted(data.rglob("*")) if p.is_file()}
config = base / "input/config"
(base / "model/found.json").write_text(json.dumps({
    "files": found,
    "channels": json.loads((config / "inputdataconfig.json").read_text()),
    "epochs": json.loads((config / "hyperparameters.json").read_text())["epochs"],
    "name": os.environ["TRAINING_JOB_NAME"], "arn": os.environ["TRAINING_JOB_ARN"], "own": os.environ["OWN"],
}))
"""
    record = place.run(
        script,
        HyperParameters={"script": json.dumps(script), "epochs": "3"},
        Environment={"OWN": "yes"},
        InputDataConfig=[
            channel("images", f"s3://{BUCKET}/data/images"),
            channel("labels", labels),
            channel("listed", listing, kind="ManifestFile"),
        ],
    )
    found = json.loads(archive(place, record["TrainingJobName"])["found.json"])
    assert found["files"] == {
        "images/a/1.jpg": "one",
        "labels/labels.csv": "file,id",
        "listed/labels.csv": "file,id",
    }
    assert set(found["channels"]) == {"images", "labels", "listed"}
    assert (found["epochs"], found["own"]) == ("3", "yes")
    assert (found["name"], found["arn"]) == (record["TrainingJobName"], record["TrainingJobArn"])


def test_lines_go_to_the_log_group_and_metrics_to_cloudwatch(place: Place) -> None:
    algorithm = {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
    }
    record = place.run("print('loss=0.5'); print(); print('loss=0.25')", AlgorithmSpecification=algorithm)
    name = record["TrainingJobName"]
    assert [(item["MetricName"], item["Value"]) for item in record["FinalMetricDataList"]] == [("loss", 0.25)]
    events = place.client("logs").filter_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{name}/algo-1-"
    )["events"]
    assert [event["message"] for event in events] == ["loss=0.5", " ", "loss=0.25"]
    metrics = place.client("cloudwatch").list_metrics(
        Namespace="/aws/sagemaker/TrainingJobs", Dimensions=[{"Name": "TrainingJobName", "Value": name}]
    )
    assert [metric["MetricName"] for metric in metrics["Metrics"]] == ["loss"]
    assert (place.state / "jobs" / name / "algo-1/output.log").read_text() == "loss=0.5\n\nloss=0.25\n"


def test_every_state_is_told_to_the_event_bus_in_order(place: Place) -> None:
    sqs, events = place.client("sqs"), place.client("events")
    queue = sqs.create_queue(QueueName="states")["QueueUrl"]
    address = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.sagemaker"], "detail": {"TrainingJobName": ["told"]}}
    events.put_rule(Name="states", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="states", Targets=[{"Id": "1", "Arn": address}])
    place.run(TrainingJobName="told", Tags=[{"Key": "team", "Value": "a"}])
    details: list[Any] = []
    deadline = time.monotonic() + 10
    while len(details) < 5 and time.monotonic() < deadline:
        got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        details += [json.loads(message["Body"])["detail"] for message in got.get("Messages", ())]
    details.sort(key=lambda detail: len(detail["SecondaryStatusTransitions"]))
    assert [d["SecondaryStatus"] for d in details] == [
        "Starting", "Downloading", "Training", "Uploading", "Completed",
    ]  # fmt: skip
    assert details[-1]["TrainingJobStatus"] == "Completed"
    assert details[-1]["Tags"] == {"team": "a"}


def test_a_job_has_its_roles_credentials_unless_it_is_isolated(place: Place) -> None:
    script = (
        "(base / 'model/env').write_text(json.dumps({k: v for k, v in os.environ.items() if 'AWS' in k}))"
    )
    open_, isolated = (
        json.loads(archive(place, place.run(script, EnableNetworkIsolation=flag)["TrainingJobName"])["env"])
        for flag in (False, True)
    )
    assert isolated == {}
    assert open_["AWS_ENDPOINT_URL"] == place.servers.endpoint
    assert open_["AWS_ACCESS_KEY_ID"] != place.servers.credentials.access_key_id
    assert open_["AWS_SESSION_TOKEN"]


# -- Failures -----------------------------------------------------------------------------------------------
def test_the_failure_file_is_the_reason_and_output_data_is_kept(place: Place) -> None:
    script = """
(base / "output/failure").write_text("x" * 2000)
(base / "output/data/trace").write_text("where")
(base / "model/half").write_text("no model")
sys.exit(3)
"""
    record = place.run(script)
    text = reason(record)
    assert text.startswith("AlgorithmError: xxx")
    assert text.endswith("x, exit code: 3")
    assert len(text) == 1024
    assert states(record)[-2:] == ["Training", "Failed"]
    assert archive(place, record["TrainingJobName"], "output") == {"trace": "where"}
    assert "model.tar.gz" not in str(place.objects(f"out/{record['TrainingJobName']}"))


def test_an_exit_code_alone_is_a_reason(place: Place) -> None:
    assert reason(place.run("sys.exit(1)")) == "AlgorithmError: , exit code: 1"


def test_a_role_that_may_not_read_the_input_fails_the_job(place: Place) -> None:
    uri = place.put("unreadable/a.txt")
    role = place.role(allow(*(action for action in EXECUTION if action != "s3:GetObject")))
    record = place.run(RoleArn=role, InputDataConfig=[channel("images", uri)])
    assert reason(record).startswith(
        f"ClientError: Data download failed:Unable to download object {uri} (AccessDenied: "
    )
    assert states(record) == ["Starting", "Downloading", "Failed"]


def test_a_role_that_may_not_write_the_output_fails_the_job(place: Place) -> None:
    role = place.role(allow(*(action for action in EXECUTION if action != "s3:PutObject")))
    record = place.run("(base / 'model/m').touch()", RoleArn=role)
    assert reason(record).startswith("ClientError: Artifact upload failed:Error 7: AccessDenied (403): ")
    assert place.objects(f"out/{record['TrainingJobName']}") == {}


def test_a_role_that_may_not_write_checkpoints_fails_the_job_while_it_trains(place: Place) -> None:
    inputs = allow("s3:PutObject", resource=f"arn:aws:s3:::{BUCKET}/out/*")
    role = place.role(inputs, allow(*(action for action in EXECUTION if action != "s3:PutObject")))
    script = "(base / 'checkpoints/c').touch(); " + SLEEP
    record = place.run(script, RoleArn=role, CheckpointConfig=checkpoints("denied-checkpoints/"))
    assert reason(record).startswith("ClientError: Checkpoint upload failed:AccessDenied: ")


def test_a_role_without_logs_or_metrics_loses_those_and_not_the_job(place: Place) -> None:
    role = place.role(allow("s3:*", "ecr:*"))
    assert place.run("print('unheard')", RoleArn=role)["TrainingJobStatus"] == "Completed"


def test_keys_that_no_folder_can_hold_fail_the_job(place: Place) -> None:
    place.put("odd//a.txt")
    place.put("odd/b.txt")
    record = place.run(InputDataConfig=[channel("images", f"s3://{BUCKET}/odd/")])
    assert "odd//a.txt has an illegal char sub-sequence '//' in it" in reason(record)


def test_a_fast_file_channel_takes_no_partial_prefix(place: Place) -> None:
    place.put("fast/images/1")
    place.put("fast/images-old/1")
    fast = {**channel("images", f"s3://{BUCKET}/fast/images"), "InputMode": "FastFile"}
    record = place.run(InputDataConfig=[fast])
    assert "For FastFile mode, partial S3 prefix is not supported" in reason(record)


def test_a_programs_own_failure_counts_more_than_that_of_its_outputs(place: Place) -> None:
    role = place.role(allow(*(action for action in EXECUTION if action != "s3:PutObject")))
    script = "(base / 'output/data/x').touch(); (base / 'checkpoints/x').touch(); sys.exit(4)"
    record = place.run(script, RoleArn=role, CheckpointConfig=checkpoints("never/"))
    assert reason(record) == "AlgorithmError: , exit code: 4"


# -- Stopping -----------------------------------------------------------------------------------------------
def test_a_stopped_program_has_time_to_save_its_model(place: Place) -> None:
    name = place.training(TRAP + SLEEP)
    place.client("sagemaker").stop_training_job(TrainingJobName=name)
    record = place.wait(name)
    assert (record["TrainingJobStatus"], record["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert states(record)[-4:] == ["Training", "Stopping", "Uploading", "Stopped"]
    assert archive(place, name) == {"partial": "x"}


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace(place: Place) -> None:
    name = place.training("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n(base / 'ready').touch()\n" + SLEEP)
    time.sleep(0.1)
    begin = time.monotonic()
    place.client("sagemaker").stop_training_job(TrainingJobName=name)
    assert place.wait(name)["SecondaryStatus"] == "Stopped"
    assert time.monotonic() - begin >= 2  # --stop-grace of these tests


def test_a_second_stop_is_refused(place: Place) -> None:
    name = place.training("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP)
    client = place.client("sagemaker")
    client.stop_training_job(TrainingJobName=name)
    assert place.wait(name, lambda r: r["SecondaryStatus"] == "Stopping")["TrainingJobStatus"] == "Stopping"
    with pytest.raises(ClientError, match="in status Stopping"):
        client.stop_training_job(TrainingJobName=name)
    place.wait(name)


def test_the_time_limit_stops_a_job_and_keeps_its_model(place: Place) -> None:
    record = place.run(TRAP + SLEEP, StoppingCondition={"MaxRuntimeInSeconds": 2})
    assert (record["TrainingJobStatus"], record["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert archive(place, record["TrainingJobName"]) == {"partial": "x"}
    assert 2 <= record["BillableTimeInSeconds"] <= 4


def test_a_job_that_waits_is_pending_and_can_be_stopped_at_once(place: Place) -> None:
    busy = [place.training(SLEEP) for _ in range(3)]
    name = place.submit()
    client = place.client("sagemaker")
    assert client.describe_training_job(TrainingJobName=name)["SecondaryStatus"] == "Pending"
    client.stop_training_job(TrainingJobName=name)
    record = client.describe_training_job(TrainingJobName=name)
    assert states(record) == ["Starting", "Pending", "Stopping", "Stopped"]
    waiting = place.submit(
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1},
    )
    assert place.wait(waiting)["SecondaryStatus"] == "MaxWaitTimeExceeded"
    for other in busy:
        client.stop_training_job(TrainingJobName=other)
    for other in busy:
        place.wait(other)


def test_a_job_leaves_no_process_behind(place: Place) -> None:
    fork = "left = subprocess.Popen(['sleep', '60'], start_new_session=True).pid\n"
    record = place.run(fork + "(base / 'model/pid').write_text(str(left))")
    assert not alive(int(archive(place, record["TrainingJobName"])["pid"]))


# -- Several hosts ------------------------------------------------------------------------------------------
def test_two_hosts_meet_at_the_master_address_and_share_the_data(place: Place) -> None:
    for letter in "abcd":
        place.put(f"shards/{letter}")
    script = """
import socket
address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
mine = sorted(p.name for p in (base / "input/data/shards").iterdir())
whole = sorted(p.name for p in (base / "input/data/whole").iterdir())
if host == hosts[0]:
    with socket.create_server(address) as server:
        peer = server.accept()[0]
        theirs = peer.recv(100).decode()
    threads = os.environ["OMP_NUM_THREADS"]
    (base / "model/seen.json").write_text(json.dumps([hosts, mine, theirs, whole, threads]))
else:
    while True:
        try:
            socket.create_connection(address).sendall("".join(mine).encode())
            break
        except OSError:
            time.sleep(0.05)
"""
    record = place.run(
        script,
        ResourceConfig=hosts(2),
        InputDataConfig=[
            channel("shards", f"s3://{BUCKET}/shards/", "ShardedByS3Key"),
            channel("whole", f"s3://{BUCKET}/shards/"),
        ],
    )
    assert record["TrainingJobStatus"] == "Completed", record.get("FailureReason")
    names, mine, theirs, whole, threads = json.loads(archive(place, record["TrainingJobName"])["seen.json"])
    assert names == ["algo-1", "algo-2"]
    assert (mine, theirs, whole) == (["a", "c"], "bd", ["a", "b", "c", "d"])
    assert int(threads) >= 1


def test_one_failing_host_ends_the_others_and_is_the_reason(place: Place) -> None:
    script = """
if host == "algo-2":
    (base / "output/failure").write_text("no GPU")
    sys.exit(9)
time.sleep(60)
"""
    record = place.run(script, ResourceConfig=hosts(2))
    assert reason(record) == "AlgorithmError: no GPU, exit code: 9"


# -- Checkpoints --------------------------------------------------------------------------------------------
def test_checkpoints_are_in_s3_while_the_job_runs_and_come_back_to_the_next(place: Place) -> None:
    config = checkpoints("checkpoints/first")
    save = "(base / 'checkpoints/step').mkdir(); (base / 'checkpoints/step/1').write_text('one')\n"
    name = place.training(save + SLEEP, CheckpointConfig=config)
    deadline = time.monotonic() + 10
    while "/step/1" not in place.objects("checkpoints/first"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    place.client("sagemaker").stop_training_job(TrainingJobName=name)
    place.wait(name)
    resume = """
old = base / "checkpoints/step/1"
(base / "checkpoints/step/2").write_text(old.read_text() + "two")
old.unlink()
"""
    assert place.run(resume, CheckpointConfig=config)["TrainingJobStatus"] == "Completed"
    assert place.body("checkpoints/first/step/2") == b"onetwo"
    assert place.body("checkpoints/first/step/1") == b"one"  # what a program deletes stays in S3
