"""`python training_job.py …` in this process, against a made-up account with a bucket and a role by hand."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader, create_loader

from facetrain.by_hand import command, image
from facetrain.cli.entry import conduct
from tests.cli.conftest import Ran
from tests.cli.fake_aws import FakeAws, Object, ServiceError, serving
from training.jobs.platform import Platform

DEPLOYED = Platform.example("dev")
PUSHED = f"{'0' * 12}.dkr.ecr.us-east-1.amazonaws.com/face-training@sha256:{'a' * 64}"
ROLE = f"arn:aws:iam::{'0' * 12}:role/service-role/face-training"
CFG, WEIGHTS = "face-inputs/input/data/cfg", "face-inputs/input/data/weights"
ORDER = ("--role", ROLE, "--images", "s3://team/faces", "--inputs", "s3://team/face-inputs")


@dataclass
class Account:
    """What the fake account answers, and the jobs that it was asked for."""

    aws: FakeAws
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    states: list[dict[str, Any]] = field(default_factory=lambda: [{"TrainingJobStatus": "Completed"}])
    deployed: bool = False

    def put(self, *places: str) -> None:
        for place in places:
            self.aws.objects[place] = Object(b"data", "v1", None)

    def refuse(self, code: str, message: str) -> None:
        """CreateTrainingJob answers with this error."""

        def refusing(body: dict[str, Any]) -> dict[str, Any]:
            raise ServiceError(code, message)

        self.aws.handlers["SageMaker.CreateTrainingJob"] = refusing

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        self.jobs[body["TrainingJobName"]] = body
        return {"TrainingJobArn": _arn(body["TrainingJobName"])}

    def describe(self, body: dict[str, Any]) -> dict[str, Any]:
        """The job's states one after another, the last for ever; the SDK asks for the first."""
        name = body["TrainingJobName"]
        asked = sum(request == "SageMaker.DescribeTrainingJob" for request in self.aws.requests)
        state = self.states[min(max(asked - 2, 0), len(self.states) - 1)]
        output = self.jobs[name]["OutputDataConfig"]["S3OutputPath"]
        return {
            "TrainingJobName": name,
            "TrainingJobArn": _arn(name),
            "ModelArtifacts": {"S3ModelArtifacts": f"{output}{name}/output/model.tar.gz"},
            "SecondaryStatus": state["TrainingJobStatus"],
            "AlgorithmSpecification": self.jobs[name]["AlgorithmSpecification"],
            "OutputDataConfig": self.jobs[name]["OutputDataConfig"],
            "ResourceConfig": self.jobs[name]["ResourceConfig"],
            "StoppingCondition": self.jobs[name]["StoppingCondition"],
            "CreationTime": 1.0,
        } | state

    def parameter(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.deployed or body["Name"] != "/facetrain/dev/platform":
            raise ServiceError("ParameterNotFound")
        return {"Parameter": {"Name": body["Name"], "Value": DEPLOYED.to_json()}}

    def role(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["RoleName"] != "face-training":
            raise ServiceError("NoSuchEntity", "no such role", 404)
        document = (
            f"<Arn>{ROLE}</Arn><RoleName>face-training</RoleName><Path>/</Path><RoleId>A</RoleId>"
            "<CreateDate>2026-01-01T00:00:00Z</CreateDate>"
        )
        return {"xml": f"<R><GetRoleResult><Role>{document}</Role></GetRoleResult></R>"}


def _arn(name: str) -> str:
    return f"arn:aws:sagemaker:us-east-1:{'0' * 12}:training-job/{name}"


@pytest.fixture
def account() -> Iterator[Account]:
    """A bucket with pictures and an inputs folder, and what answers for SageMaker, IAM, SSM and Logs."""
    fake = FakeAws()
    account = Account(fake)
    fake.handlers |= {
        "SageMaker.CreateTrainingJob": account.create,
        "SageMaker.DescribeTrainingJob": account.describe,
        "AmazonSSM.GetParameter": account.parameter,
        "GetRole": account.role,
        "Logs.DescribeLogStreams": lambda body: {"logStreams": []},
    }
    account.put("team", "team/faces/id0/0.jpg", f"team/{CFG}/train-args.json", f"team/{WEIGHTS}/README.md")
    for _ in serving(fake):
        yield account


class TrainingJob:
    """The command, run in this process with the fake account's variables."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str) -> Ran:
        self._capture.readouterr()
        code = conduct(command.app, list(arguments), command.NAME)
        said = self._capture.readouterr()
        return Ran(code, said.out, said.err)

    def dry(self, *arguments: str) -> dict[str, Any]:
        """The request that a dry run prints."""
        ran = self(*arguments, "--dry-run")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def service_models() -> Loader:
    """botocore's descriptions of the services, read once: every session would read these megabytes anew."""
    return create_loader()


@pytest.fixture
def training_job(
    account: Account,
    service_models: Loader,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> TrainingJob:
    monkeypatch.setattr("botocore.session.create_loader", lambda path: service_models)
    others = (
        "AWS_PROFILE",
        "FACETRAIN_STAGE",
        "FACETRAIN_LOCAL",
        "AWS_ENDPOINT_URL_SAGEMAKER",
        "AWS_CA_BUNDLE",
    )
    for name in others:
        monkeypatch.delenv(name, raising=False)
    for name, value in account.aws.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(image, "FILE", tmp_path / image.FILE.name)
    image.FILE.write_text(PUSHED + "\n")
    monkeypatch.setattr("facetrain.jobs.POLL_SECONDS", 0)
    return TrainingJob(capsys)
