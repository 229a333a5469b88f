"""A deployment to talk to, and a way to run commands as a user would."""

import dataclasses
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from facetrain.cli.entry import run
from tests.cli.fake_aws import FakeAws, ServiceError, serving
from training.jobs.platform import Platform

PLATFORM = Platform.example("dev")


@dataclass(frozen=True)
class Ran:
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    """An account with one deployment, stage dev, and no jobs."""

    def parameter(body: dict[str, str]) -> dict[str, object]:
        if body["Name"] != "/facetrain/dev/platform":
            raise ServiceError("ParameterNotFound")
        return {"Parameter": {"Name": body["Name"], "Value": PLATFORM.to_json()}}

    yield from serving(FakeAws({"AmazonSSM.GetParameter": parameter}))


@pytest.fixture
def strict(aws: FakeAws) -> FakeAws:
    """The same account, whose deployment wants to know on what basis faces are used, and until when."""
    platform = dataclasses.replace(PLATFORM, governance_required=("legal_basis", "expires_at"))
    aws.handlers["AmazonSSM.GetParameter"] = lambda body: {
        "Parameter": {"Name": body["Name"], "Value": platform.to_json()}
    }
    return aws


class Facetrain:
    """`facetrain …` in this process; the variables it sees are the fake account's alone."""

    def __init__(self, capture: pytest.CaptureFixture[str]):
        self._capture = capture

    def __call__(self, *arguments: str | Path) -> Ran:
        self._capture.readouterr()
        code = run([str(argument) for argument in arguments])
        said = self._capture.readouterr()
        return Ran(code, said.out, said.err)


@pytest.fixture
def facetrain(aws: FakeAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Facetrain:
    for name in (
        "AWS_PROFILE",
        "FACETRAIN_STAGE",
        "FACETRAIN_LOCAL",
        "AWS_ENDPOINT_URL_SAGEMAKER",
        "AWS_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    return Facetrain(capsys)


@pytest.fixture
def no_cloud(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Facetrain:
    """`facetrain …` where there are no credentials, no region and no network to ask for them."""
    for name in (
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "FACETRAIN_STAGE", "FACETRAIN_LOCAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Facetrain(capsys)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C as a terminal gives it, also where the tests run under nohup or `&`, which switch it off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
