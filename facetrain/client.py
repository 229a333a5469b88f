"""The user's side of one deployment: finds it, and starts, lists, follows and stops its jobs.

The same code talks to AWS and to the cloud on this machine; only the connection differs.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from facetrain.errors import InputError, OperationError
from training.jobs import contract
from training.jobs.platform import Platform
from training.jobs.problems import Problem
from training.jobs.uri import S3Uri

TERMINAL = frozenset({"Completed", "Failed", "Stopped", "Deleted"})


@dataclass
class Connection:
    """Where AWS is: boto3's own environment and profile, or the cloud whose variables these are."""

    environment: Mapping[str, str] = field(default_factory=dict)
    patient: bool = True  # False: a try that should fail soon where nothing answers
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A boto3 client, made at its first use and kept."""
        if service not in self._clients:
            session: Any = self.session  # boto3's types know a service only by its literal name
            self._clients[service] = session.client(service, config=self._config(), **self._endpoint(service))
        return self._clients[service]

    @property
    def region(self) -> str | None:
        return self.session.region_name

    @cached_property
    def session(self) -> boto3.Session:
        """boto3's session, for what makes its own clients."""
        if not self.environment:
            # boto3 reads AWS_DEFAULT_REGION alone; every other SDK, and the CDK, AWS_REGION first.
            return boto3.Session(region_name=os.environ.get("AWS_REGION"))
        # A profile of the user's own account must not leak into the cloud on this machine.
        nowhere = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
        core = botocore.session.Session({"profile": (None, None, None, None), **nowhere})
        return boto3.Session(
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_REGION"],
            botocore_session=core,
        )

    def _config(self) -> Config:
        timeout = 10 if self.patient else 3
        return Config(
            connect_timeout=timeout,
            proxies={} if self.environment else None,  # no proxy reaches this machine's loopback
            retries={"mode": "standard", "total_max_attempts": 5 if self.patient else 2},
            max_pool_connections=32,
            user_agent_extra="facetrain",
        )

    def _endpoint(self, service: str) -> dict[str, str]:
        if not self.environment:
            return {}
        own = f"AWS_ENDPOINT_URL_{service.upper()}"
        url = self.environment.get(own, self.environment["AWS_ENDPOINT_URL"])
        return {"endpoint_url": url, "verify": self.environment["AWS_CA_BUNDLE"]}


@dataclass
class Deployment:
    """One stage of Facetrain in one account and region."""

    connection: Connection
    platform: Platform

    @property
    def s3(self) -> Any:
        return self.connection.client("s3")

    @property
    def sagemaker(self) -> Any:
        return self.connection.client("sagemaker")

    @property
    def function_name(self) -> str:
        return f"{self.platform.job_prefix}-launch-training"

    def dataset_folder(self, dataset: str) -> S3Uri:
        return S3Uri(self.platform.inputs_bucket, f"{contract.INPUTS_PREFIX}{dataset}/")

    def launch(self, manifest: S3Uri) -> dict[str, Any]:
        """Invokes the deployed launcher: job_name, job_arn, status. Raises InputError with its errors."""
        answer = self.connection.client("lambda").invoke(
            FunctionName=self.function_name, Payload=json.dumps({"manifest": str(manifest)})
        )
        payload = json.load(answer["Payload"])
        if "FunctionError" in answer:
            reason = payload.get("errorMessage", payload) if isinstance(payload, dict) else payload
            raise OperationError(f"{self.function_name} failed: {reason}")
        if errors := payload.get("errors"):
            raise InputError([Problem(error["path"], error["message"]) for error in errors])
        result: dict[str, Any] = payload
        return result


def discover(connection: Connection, stage: str) -> Deployment:
    """The deployment of this stage, as it wrote itself down. Raises OperationError where there is none."""
    name = contract.platform_parameter(stage)
    try:
        answer = connection.client("ssm").get_parameter(Name=name)
    except ClientError as error:
        if code(error) != "ParameterNotFound":
            raise
        raise OperationError(
            f'no deployment "{stage}" in {connection.region} (there is no SSM parameter {name}): deploy it '
            f"with `npx cdk deploy --all -c stage={stage}`, name another with --stage, or use the cloud on "
            "this machine: `facetrain local up`, then --local"
        ) from None
    return Deployment(connection, Platform.from_json(answer["Parameter"]["Value"]))


def code(error: ClientError) -> str:
    """The error's code: AWS promises codes to be stable, never messages."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_missing(error: ClientError) -> bool:
    return code(error) in {"404", "NoSuchKey", "NotFound", "NoSuchBucket", "NoSuchVersion"}


def explain(error: BotoCoreError | ClientError) -> str:
    """One line with a remedy for what AWS answers most often when a set-up is not right."""
    if isinstance(error, ClientError):
        return _explain_answer(error)
    remedy = _REMEDIES.get(type(error).__name__, "")
    return f"{str(error).rstrip('.')}{remedy}"


def _explain_answer(error: ClientError) -> str:
    message = error.response.get("Error", {}).get("Message", "")
    text = f"{error.operation_name}: {code(error)}: {message}".rstrip(": .")
    for codes, remedy in _ANSWER_REMEDIES:
        if code(error) in codes:
            return f"{text}: {remedy}"
    return text


_SIGN_IN = (
    ": sign in (`aws sso login`, `aws configure`, or AWS_PROFILE), or use the cloud on this machine: "
    '--local, or eval "$(facetrain local env)"'
)
_REMEDIES = {
    "NoCredentialsError": _SIGN_IN,
    "PartialCredentialsError": _SIGN_IN,
    "ProfileNotFound": _SIGN_IN,
    "UnauthorizedSSOTokenError": _SIGN_IN,
    "SSOTokenLoadError": _SIGN_IN,
    "TokenRetrievalError": _SIGN_IN,
    "NoRegionError": ": set AWS_REGION, or `aws configure set region …`",
    "EndpointConnectionError": ": is the network up, and AWS_REGION a region? For the cloud on this machine: "
    "`facetrain local up`",
    "ConnectTimeoutError": ": is the network up?",
    "SSLError": ": AWS_CA_BUNDLE must name the certificate of what answers there (`facetrain local env`)",
}
_ANSWER_REMEDIES = (
    (
        {
            "ExpiredToken",
            "ExpiredTokenException",
            "RequestExpired",
            "InvalidClientTokenId",
            "UnrecognizedClientException",
        },
        "sign in again",
    ),
    (
        # The numbers are of answers to HEAD, which have no words.
        {"AccessDenied", "AccessDeniedException", "AccessDeniedError", "UnauthorizedOperation", "403"},
        "these credentials lack that permission",
    ),
    ({"BadDigest", "InvalidDigest"}, "a file changed while it was read, or was garbled on its way"),
)
