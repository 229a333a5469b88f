"""How others reach a cloud on this machine: as variables for any AWS client, and as boto3 clients for us."""

import os
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from facetrain.local.services import REGION, Servers

STAGE = "local"


def aws_environment(servers: Servers) -> dict[str, str]:
    """The variables that point any AWS client at the cloud, as its root user."""
    variables = {
        "AWS_ENDPOINT_URL": servers.endpoint,
        "AWS_ENDPOINT_URL_SAGEMAKER": servers.sagemaker_endpoint,
        "AWS_ACCESS_KEY_ID": servers.credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": servers.credentials.secret_access_key,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CA_BUNDLE": str(servers.tls.authority),
        "NODE_EXTRA_CA_CERTS": str(servers.tls.authority),
        "FACETRAIN_STAGE": STAGE,
    }
    proxied = any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in os.environ)
    if proxied:  # no proxy can reach this machine's loopback
        given = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
        direct = ",".join([*filter(None, [given]), "localhost", "127.0.0.1"])
        variables |= {"NO_PROXY": direct, "no_proxy": direct}
    return variables


def client(servers: Servers, name: str) -> Any:
    """A boto3 client of the cloud that no profile, variable or proxy of the user's can lead astray."""
    session = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    session.set_config_variable("config_file", os.devnull)
    session.set_config_variable("credentials_file", os.devnull)
    return boto3.Session(
        aws_access_key_id=servers.credentials.access_key_id,
        aws_secret_access_key=servers.credentials.secret_access_key,
        region_name=REGION,
        botocore_session=session,
    ).client(
        name,  # type: ignore[call-overload]  # one of hundreds of literal names
        endpoint_url=servers.endpoint,
        verify=str(servers.tls.authority),
        config=Config(proxies={}, retries={"total_max_attempts": 3}),
    )
