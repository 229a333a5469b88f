"""Clients for MiniStack: the endpoint's own, and those that act with a job's role."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import ClientError

Client = Any  # boto3 makes its clients' classes at run time

CONFIG = Config(
    retries={"mode": "standard", "max_attempts": 4},
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=16,
    s3={"addressing_style": "path"},  # bucket names are not host names on localhost
)
ROLE_SESSION_NAME = "SageMaker"
ROLE_SESSION_SECONDS = 3600


@dataclass(frozen=True)
class Environment:
    """Where MiniStack is, and the keys of its root."""

    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str
    ca_bundle: str | None


class Role(Protocol):
    """A job's execution role: clients that act with it, and a session's keys to hand to the job."""

    def client(self, service: str) -> Client: ...

    def variables(self) -> dict[str, str]: ...


class Clients(Protocol):
    """What the rest of the endpoint needs of the cloud."""

    def client(self, service: str) -> Client: ...

    def role(self, role_arn: str) -> Role: ...

    def variables(self) -> dict[str, str]: ...


class Cloud:
    """Makes clients. One per process; thread-safe."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._lock = threading.Lock()
        self._clients: dict[str, Client] = {}
        core = botocore.session.Session()
        core.set_credentials(environment.access_key_id, environment.secret_access_key)
        self._loader = core.get_component("data_loader")
        self._session = boto3.Session(botocore_session=core, region_name=environment.region)

    def variables(self) -> dict[str, str]:
        """What an AWS client in a job needs to find MiniStack; no credentials."""
        here = self.environment
        found = {
            "AWS_ENDPOINT_URL": here.endpoint,
            "AWS_REGION": here.region,
            "AWS_DEFAULT_REGION": here.region,
        }
        return {**found, "AWS_CA_BUNDLE": here.ca_bundle} if here.ca_bundle else found

    def client(self, service: str) -> Client:
        """A client with the endpoint's own credentials (the account's root)."""
        with self._lock:  # botocore's sessions make one client at a time
            if service not in self._clients:
                self._clients[service] = _client(self._session, service, self.environment)
            return self._clients[service]

    def role(self, role_arn: str) -> "AssumedRole":
        """The role, assumed; ClientError(AccessDenied) where its trust policy does not let us."""
        return AssumedRole(self, role_arn)

    def session(self) -> botocore.session.Session:
        """A session without credentials, which shares the service models that were read so far."""
        session = botocore.session.Session()
        session.register_component("data_loader", self._loader)
        return session


class AssumedRole:
    """Credentials of sts:AssumeRole, renewed before they end, however long the job takes."""

    def __init__(self, cloud: Cloud, role_arn: str) -> None:
        self._environment = cloud.environment
        self._sts = cloud.client("sts")
        self._role_arn = role_arn
        self._lock = threading.Lock()
        self._credentials = RefreshableCredentials.create_from_metadata(
            metadata=self._assume(), refresh_using=self._assume, method="assume-role"
        )
        core = cloud.session()
        vars(core)["_credentials"] = self._credentials  # no public way to give renewed ones
        self._session = boto3.Session(botocore_session=core, region_name=self._environment.region)

    def client(self, service: str) -> Client:
        with self._lock:
            return _client(self._session, service, self._environment)

    def variables(self) -> dict[str, str]:
        """The session's keys as environment variables; they hold for what remains of its hour."""
        keys = self._credentials.get_frozen_credentials()
        return {
            "AWS_ACCESS_KEY_ID": str(keys.access_key),
            "AWS_SECRET_ACCESS_KEY": str(keys.secret_key),
            "AWS_SESSION_TOKEN": str(keys.token),
        }

    def _assume(self) -> dict[str, str]:
        answer = self._sts.assume_role(
            RoleArn=self._role_arn, RoleSessionName=ROLE_SESSION_NAME, DurationSeconds=ROLE_SESSION_SECONDS
        )
        keys = answer["Credentials"]
        return {
            "access_key": keys["AccessKeyId"],
            "secret_key": keys["SecretAccessKey"],
            "token": keys["SessionToken"],
            "expiry_time": keys["Expiration"].isoformat(),
        }


def _client(session: boto3.Session, service: str, environment: Environment) -> Client:
    make: Callable[..., Client] = session.client
    return make(service, endpoint_url=environment.endpoint, verify=environment.ca_bundle, config=CONFIG)


def denied(error: ClientError) -> bool:
    """Whether S3 (or another service) refused for want of a permission; a HEAD has no body, so only "403"."""
    return error.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException", "403", "Forbidden"}


def error_text(error: ClientError) -> str:
    """`AccessDenied: Access Denied`, as SageMaker quotes S3's errors."""
    details: Mapping[str, Any] = error.response["Error"]
    return f"{details['Code']}: {details['Message']}"


def trusts_sagemaker(policy: Mapping[str, Any]) -> bool:
    """Whether a trust policy lets sagemaker.amazonaws.com assume the role."""
    statements = policy.get("Statement", [])
    for statement in [statements] if isinstance(statements, dict) else statements:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        named = services if isinstance(services, list) else [services]
        actions = statement.get("Action", [])
        allowed = {"sts:AssumeRole", "sts:*", "*"} & set([actions] if isinstance(actions, str) else actions)
        if statement.get("Effect") == "Allow" and "sagemaker.amazonaws.com" in named and allowed:
            return True
    return False
