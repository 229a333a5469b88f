"""The two processes of a cloud: MiniStack, and beside it our SageMaker endpoint."""

import json
import os
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facetrain.local.certificates import TlsFiles
from facetrain.local.credentials import Credentials
from facetrain.local.errors import LocalCloudError
from facetrain.local.home import Home, read_json
from facetrain.local.process import Service, kill_strays
from facetrain.local.routes import MINISTACK_HEALTH_PATH, SAGEMAKER_HEALTH_PATH, SAVE_PATH

REGION = "us-east-1"
ACCOUNT = "000000000000"  # MiniStack's own, unless it is told otherwise
# Where the servers start, so that they find this package, installed or not; Lambdas start elsewhere.
PACKAGE_PARENT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0  # MiniStack takes one second on an idle machine; a busy one may take many
STOP_SECONDS = (
    25.0  # MiniStack writes its state; the endpoint gives its jobs ten seconds and uploads what they saved
)
MARK = "FACETRAIN_CLOUD"  # in the environment of a cloud's processes, Lambdas too, so that none is lost
# What a server needs of the user's environment. Not their AWS_* variables, profiles or proxies, which the
# deployed Lambda would inherit and never has in AWS.
INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ")
# What the endpoint needs besides to find the engine that the user's own `docker` finds.
DOCKER = (
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
    "XDG_RUNTIME_DIR",
)


@dataclass(frozen=True)
class Servers:
    """The processes of one cloud at their addresses, and how to reach them."""

    home: Home
    port: int
    sagemaker_port: int
    first_port: int  # MiniStack keeps the address it was first deployed at in its queues' names
    credentials: Credentials
    runner: str = "process"  # or "docker": what jobs run as

    @property
    def endpoint(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def sagemaker_endpoint(self) -> str:
        return f"https://localhost:{self.sagemaker_port}"

    @property
    def tls(self) -> TlsFiles:
        return TlsFiles.below(self.home.tls)

    @property
    def ministack(self) -> Service:
        return service(self.home, "ministack")

    @property
    def sagemaker(self) -> Service:
        return service(self.home, "sagemaker")

    def start(self, images: Mapping[str, Path]) -> None:
        """Start both and wait until they answer. images: the program that stands for each image URI.

        Raises PortTakenError where another program took a port meanwhile, LocalCloudError with the
        log's last lines where a process dies or does not answer in time.
        """
        self.start_ministack(wait=False)  # the two come up side by side
        self.sagemaker.start(
            [sys.executable, "-m", "facetrain.local.sagemaker", *sagemaker_flags(self, images)],
            sagemaker_environment(self),
            PACKAGE_PARENT,
        )
        self._wait(self.ministack, f"{self.endpoint}{MINISTACK_HEALTH_PATH}")
        self._wait(self.sagemaker, f"{self.sagemaker_endpoint}{SAGEMAKER_HEALTH_PATH}")

    def start_ministack(self, *, wait: bool = True) -> None:
        """Start MiniStack alone. Raises as `start` does."""
        self.home.scratch.mkdir(mode=0o700, exist_ok=True)
        self.ministack.start(
            [
                *(sys.executable, "-m", "facetrain.local.ministack_app", "--port", str(self.port)),
                *("--images", str(self.home.images)),
            ],
            ministack_environment(self),
            PACKAGE_PARENT,
        )
        if wait:
            self._wait(self.ministack, f"{self.endpoint}{MINISTACK_HEALTH_PATH}")

    def _wait(self, one: Service, health: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.get(health) is None:
            if one.pid() is None:
                if "address already in use" in one.log.read_text(errors="replace").lower():
                    raise PortTakenError(f"{one.name} found its port taken by another program")
                raise LocalCloudError(f"{one.name} ended while starting; the end of {one.log}:\n{one.tail()}")
            if time.monotonic() > deadline:
                late = f"{one.name} did not answer within {START_SECONDS:.0f} s"
                raise LocalCloudError(f"{late}; the end of {one.log}:\n{one.tail()}")
            time.sleep(0.05)

    def get(self, address: str, timeout: float = 2) -> dict[str, Any] | None:
        """The JSON answer of one of this cloud's addresses; None where nobody answers as expected in time."""
        try:
            with self._open(urllib.request.Request(address), timeout) as answer:  # noqa: S310  # our own https
                document = json.load(answer)
        except (OSError, ValueError):  # URLError and TLS failures are OSErrors
            return None
        return document if isinstance(document, dict) else None

    def save(self) -> None:
        """Have MiniStack write its state to disk now: what a crash from here on will bring back."""
        token = {"Authorization": f"Bearer {self.credentials.bridge_token}"}
        request = urllib.request.Request(  # noqa: S310  # our own https address
            f"{self.endpoint}{SAVE_PATH}", data=b"{}", headers=token
        )
        try:
            self._open(request, timeout=60).close()
        except OSError as problem:
            raise LocalCloudError(f"MiniStack could not save its state: {problem}") from problem

    def _open(self, request: urllib.request.Request, timeout: float = 2) -> Any:
        context = ssl.create_default_context(cafile=str(self.tls.authority))
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        return urllib.request.build_opener(*handlers).open(request, timeout=timeout)


class PortTakenError(LocalCloudError):
    """A port was free when it was chosen and taken when the server came to use it."""


def service(home: Home, name: str) -> Service:
    return Service(name, home.run / f"{name}.pid", home.logs / f"{name}.log")


def stop(home: Home, grace: float = STOP_SECONDS) -> None:
    """Stop both processes and whatever they started. grace: seconds before they are killed."""
    for name in ("sagemaker", "ministack"):  # jobs first: they still write to S3
        service(home, name).stop(grace)
    kill_strays([f"{MARK}={home.path}/", f"SAGEMAKER_BASE_DIR={home.sagemaker}/"])
    if (read_json(home.settings) or {}).get("runner") == "docker":
        _remove_containers(home)
    shutil.rmtree(home.scratch, ignore_errors=True)


def _remove_containers(home: Home) -> None:
    """What a killed endpoint may have left. Where no engine answers now, the next start looks again."""
    from facetrain.image.engine import ImageError, find_engine  # noqa: PLC0415 - most clouds have no engine
    from facetrain.local.sagemaker.containers import sweep  # noqa: PLC0415

    with suppress(ImageError):
        sweep(find_engine(), home.sagemaker)


def _base_environment(servers: Servers) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        MARK: f"{servers.home.path}/",
        "PYTHONUNBUFFERED": "1",  # the log is read while it is written
        "AWS_ENDPOINT_URL": servers.endpoint,
        "AWS_ACCESS_KEY_ID": servers.credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": servers.credentials.secret_access_key,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CA_BUNDLE": str(servers.tls.authority),
        "AWS_CONFIG_FILE": os.devnull,  # the user's own profiles are for the real AWS
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "FACETRAIN_BRIDGE_TOKEN": servers.credentials.bridge_token,
    }


def ministack_environment(servers: Servers) -> dict[str, str]:
    """What MiniStack is told; Lambdas inherit it, but for the keys, which are their own role's."""
    return {
        **_base_environment(servers),
        "AWS_ENDPOINT_URL_SAGEMAKER": servers.sagemaker_endpoint,
        "NODE_EXTRA_CA_CERTS": str(servers.tls.authority),
        "AUTH": "true",
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": str(servers.tls.certificate),
        "MINISTACK_SSL_KEY": str(servers.tls.key),
        "MINISTACK_REGION": REGION,
        "GATEWAY_PORT": str(servers.first_port),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(servers.home.ministack / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(servers.home.ministack / "s3"),
        "TMPDIR": str(servers.home.scratch),  # where it unpacks Lambdas
        "IOT_MTLS_ENABLED": "0",  # it would listen on port 8883 of every interface
        "SFTP_ENABLED": "0",
        # None: with an engine it would remove other MiniStacks' containers.
        "DOCKER_HOST": f"unix://{servers.home.run}/no-docker.sock",
    }


def sagemaker_environment(servers: Servers) -> dict[str, str]:
    """What the SageMaker endpoint is told: where MiniStack is, and the keys of its root."""
    docker = {name: os.environ[name] for name in DOCKER if name in os.environ}
    return {**_base_environment(servers), **docker}


def sagemaker_flags(servers: Servers, images: Mapping[str, Path]) -> list[str]:
    """The endpoint's command line."""
    flags = ["--state", str(servers.home.sagemaker), "--port", str(servers.sagemaker_port)]
    flags += ["--certificate", str(servers.tls.certificate), "--key", str(servers.tls.key)]
    flags += ["--runner", servers.runner, "--account", ACCOUNT]
    for uri, program in images.items():
        flags += ["--process-image", f"{uri}={program}"]
    return flags
