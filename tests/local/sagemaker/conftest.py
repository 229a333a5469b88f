"""MiniStack behind our door and the SageMaker endpoint beside it, as processes; no stacks, no trainer."""

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from facetrain.local import certificates, ports, services
from facetrain.local.credentials import credentials
from facetrain.local.home import Home
from facetrain.local.services import Servers

ACCOUNT, REGION = services.ACCOUNT, services.REGION
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/tests:1"
PROGRAM = Path(__file__).with_name("program.py")
BUCKET = "sagemaker-tests"
Client = Any
Record = Mapping[str, Any]

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"},
        {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"},
    ],
}
EXECUTION = ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "logs:*", "cloudwatch:PutMetricData", "ecr:*"]


def allow(*actions: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


@dataclass
class Place:
    """The two processes, and what tests do with them."""

    servers: Servers
    flags: Sequence[str] = ()
    process: "subprocess.Popen[str] | None" = None
    roles: dict[str, str] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.servers.home.sagemaker

    def start(self) -> None:
        """Start the endpoint and wait for its line."""
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "facetrain.local.sagemaker"),
                *services.sagemaker_flags(self.servers, {IMAGE: PROGRAM}),
                *self.flags,
            ],
            env={**services.sagemaker_environment(self.servers), "PYTHONFAULTHANDLER": "1"},
            stdout=subprocess.PIPE,
            stderr=(self.servers.home.logs / "sagemaker.log").open("a"),
            text=True,
        )
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline())["ready"]

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # every thread's stack goes to the log
            self.process.wait()
            pytest.fail(
                f"the endpoint did not stop: {services.service(self.servers.home, 'sagemaker').tail()}"
            )

    def client(self, service: str, keys: Mapping[str, str] | None = None) -> Client:
        """A client with the root's keys, or others."""
        if keys is None:
            if service not in self.clients:
                self.clients[service] = self.client(service, self.root)
            return self.clients[service]
        own = self.servers.sagemaker_endpoint if service == "sagemaker" else self.servers.endpoint
        make: Callable[..., Client] = boto3.Session(region_name=REGION).client
        config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
        return make(service, endpoint_url=own, verify=str(self.servers.tls.authority), config=config, **keys)

    @property
    def root(self) -> dict[str, str]:
        return {
            "aws_access_key_id": self.servers.credentials.access_key_id,
            "aws_secret_access_key": self.servers.credentials.secret_access_key,
        }

    def role(self, *statements: Mapping[str, Any], trust: Mapping[str, Any] = TRUST) -> str:
        """A new role's ARN."""
        iam, name = self.client("iam"), f"role-{uuid.uuid4().hex[:8]}"
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        policy = {"Version": "2012-10-17", "Statement": list(statements)}
        iam.put_role_policy(RoleName=name, PolicyName="tests", PolicyDocument=json.dumps(policy))
        return str(made["Role"]["Arn"])

    def session(self, role_arn: str) -> dict[str, str]:
        """Keys of a session of the role."""
        made = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="caller")["Credentials"]
        return {
            "aws_access_key_id": made["AccessKeyId"],
            "aws_secret_access_key": made["SecretAccessKey"],
            "aws_session_token": made["SessionToken"],
        }

    @property
    def execution_role(self) -> str:
        if "execution" not in self.roles:
            self.roles["execution"] = self.role(allow(*EXECUTION))
        return self.roles["execution"]

    def put(self, key: str, body: bytes = b"data") -> str:
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def objects(self, prefix: str) -> dict[str, int]:
        found = self.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return {item["Key"].removeprefix(prefix): item["Size"] for item in found.get("Contents", ())}

    def body(self, key: str) -> bytes:
        return bytes(self.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def request(self, script: str = "", **changes: Any) -> dict[str, Any]:
        """A lawful request whose program does `script`; a change to None leaves a member out."""
        whole = {
            "TrainingJobName": f"job-{uuid.uuid4().hex[:8]}",
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "RoleArn": self.execution_role,
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out/"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            "HyperParameters": {"script": json.dumps(script)},  # a value may hold no newline
            **changes,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def submit(self, script: str = "", **changes: Any) -> str:
        request = self.request(script, **changes)
        self.client("sagemaker").create_training_job(**request)
        return str(request["TrainingJobName"])

    def wait(self, name: str, until: Callable[[Record], bool] | None = None, seconds: float = 20) -> Record:
        """The job's description once `until` holds, or once it has ended."""
        deadline = time.monotonic() + seconds
        client = self.client("sagemaker")
        while True:
            record: Record = client.describe_training_job(TrainingJobName=name)
            ended = record["TrainingJobStatus"] in {"Completed", "Failed", "Stopped"}
            if until(record) if until else ended:
                return record
            assert not ended, f"ended before: {dict(record)}"
            assert time.monotonic() < deadline, f"still {record['SecondaryStatus']}"
            time.sleep(0.05)

    def run(self, script: str = "", **changes: Any) -> Record:
        return self.wait(self.submit(script, **changes))

    def training(self, script: str, **changes: Any) -> str:
        """Start a job whose script writes `ready` into its checkpoint folder, and wait for that."""
        name = self.submit("(base / 'ready').touch()\n" + script, **changes)
        self.wait(name, lambda record: record["SecondaryStatus"] == "Training")
        deadline = time.monotonic() + 10
        while not (self.state / "jobs" / name / "algo-1/opt/ml/ready").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return name


def states(record: Record) -> list[str]:
    return [step["Status"] for step in record["SecondaryStatusTransitions"]]


def make_place(root: Path, flags: Sequence[str]) -> Place:
    home = Home(root, "tests")
    home.create()
    port, sagemaker_port = ports.choose(2, [])
    servers = Servers(home, port, sagemaker_port, port, credentials(home))
    certificates.make(servers.tls, dt.datetime.now(dt.UTC))
    return Place(servers, flags)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One MiniStack and one endpoint for all tests; two seconds of grace, three jobs at once."""
    flags = ["--parallel", "3", "--stop-grace", "2", "--shutdown-grace", "1", "--quota", "ml.p4d.24xlarge=0"]
    one = make_place(tmp_path_factory.mktemp("sagemaker"), flags)
    try:
        one.servers.start_ministack()
        one.start()
        one.client("s3").create_bucket(Bucket=BUCKET)
        yield one
    finally:
        try:
            if one.process is not None and one.process.poll() is None:
                one.stop()
        finally:
            services.stop(one.servers.home)


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return False
