"""A job's image: whose it is, whether the job's role may pull it, and the pull itself.

What the service does out of sight is done here where its refusals show: ECR is asked with the role's session
for everything that pulling takes, and the engine pulls with that session's login and no other.
"""

import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from facetrain.image.engine import Engine, ImageError
from facetrain.image.registry import configuration
from facetrain.image.trouble import explain
from facetrain.local.sagemaker.aws import Client, Role, error_text
from facetrain.local.sagemaker.errors import JobFailed

POLL_SECONDS = 0.05
# The digest of what an image runs with, which stands in its manifest beside those of its layers.
_DIGEST = re.compile(r'"digest"\s*:\s*"(sha256:[0-9a-f]{64})"')

IMAGE = re.compile(
    r"(?:(?P<registry>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?"
    r"|localhost:\d{1,5})"
    r"/(?P<repository>[a-z0-9]+(?:[._/-][a-z0-9]+)*)(?P<version>:[\w.-]{1,128}|@sha256:[0-9a-f]{64})?"
)


@dataclass(frozen=True)
class Registry:
    """The cloud's own registry: `address` as Docker reaches it, and the account and region it is for."""

    address: str  # localhost:<port>
    account: str
    region: str

    def repository(self, image: str) -> tuple[str, str] | None:
        """An image's repository here and its `:tag` or `@digest`; None where another registry holds it.

        `localhost:<port>` is what build-and-push.sh writes down for a cloud on this machine; the port may
        have changed since.
        """
        match = IMAGE.fullmatch(image)
        if match is None or (match["registry"], match["region"]) not in (
            (None, None),
            (self.account, self.region),
        ):
            return None
        return match["repository"], match["version"] or ":latest"


def fetch(engine: Engine, registry: Registry, image: str, role: Role, check: Callable[[], None]) -> str:
    """Pull the image; gives the name to run it by. Raises JobFailed in one sentence that names the image."""
    here = registry.repository(image)
    try:
        if here is None:
            _pull(engine, image, check)
            return image
        ecr = role.client("ecr")
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        digest = _permitted(ecr, *here)
        name = f"{registry.address}/{here[0]}@{digest}"
        with _logged_in(engine, registry.address, token) as own:
            _pull(own, name, check)
    except ClientError as error:
        raise JobFailed(f"ClientError: Cannot pull image {image}: {error_text(error)}") from error
    except (ImageError, LookupError) as error:
        raise JobFailed(f"ClientError: Cannot pull image {image}: {error}") from error
    return name


def _permitted(ecr: Client, repository: str, version: str) -> str:
    """The image's digest. ClientError where the role may not pull it, LookupError where it is not there."""
    wanted = {"imageDigest": version[1:]} if version[0] == "@" else {"imageTag": version[1:]}
    answer = ecr.batch_get_image(repositoryName=repository, imageIds=[wanted])
    if not answer["images"]:
        raise LookupError(f"repository {repository} holds no image {version[1:]}")
    found: dict[str, Any] = answer["images"][0]
    for digest in _DIGEST.findall(found["imageManifest"])[:1]:
        ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=digest)
    return str(found["imageId"]["imageDigest"])


@contextmanager
def _logged_in(engine: Engine, address: str, token: str) -> Iterator[Engine]:
    """The engine's client with this login alone; the user's own are neither used nor written."""
    with tempfile.TemporaryDirectory(prefix="facetrain-login-") as folder:
        yield replace(engine, config=configuration(Path(folder), engine, {address: {"auth": token}}))


def _pull(engine: Engine, name: str, check: Callable[[], None]) -> None:
    """`docker pull`, given up where `check` raises: the engine stops pulling when its client is gone.

    ImageError where the engine cannot have it, unless it holds the image already (built here, or no network).
    """
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(  # noqa: S603  # no shell reads it
            [engine.client, "pull", "--quiet", name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=engine.environment(),
        )
        try:
            while process.poll() is None:
                check()
                time.sleep(POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        said.seek(0)
        if process.returncode and not engine.holds(name):
            raise ImageError(explain(said.read()))
