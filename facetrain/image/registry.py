"""Where images are kept: the account's ECR, or the registry of the cloud on this machine.

    registry = registry_of(connection)
    ensure_repository(registry, "face-training")
    with logged_in(engine, registry) as engine:     # an engine whose commands know the login
        push(engine, registry, built.tag, "face-training", fingerprint)

The cloud on this machine asks for no login: an engine as it is can push there.
"""

import base64
import contextlib
import ipaddress
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from facetrain.client import Connection, code
from facetrain.image.engine import Engine
from facetrain.image.trouble import ImageError


@dataclass(frozen=True)
class Registry:
    """A registry of images, and the connection that ECR's own calls go by."""

    address: str  # "localhost:4566" or "<account>.dkr.ecr.<region>.amazonaws.com"
    connection: Connection


@dataclass(frozen=True)
class Pushed:
    """An image in a registry, by a name that never means another."""

    uri: str  # "<address>/<repository>@sha256:…"
    digest: str  # sha256:…


def registry_of(connection: Connection) -> Registry:
    """The registry of this connection's account and region; on this machine the cloud's own address."""
    ecr = connection.client("ecr")
    endpoint = urlsplit(ecr.meta.endpoint_url)
    if _is_loopback(endpoint.hostname or ""):
        return Registry(endpoint.netloc, connection)
    authorization = ecr.get_authorization_token()["authorizationData"][0]
    return Registry(urlsplit(authorization["proxyEndpoint"]).netloc, connection)


@contextlib.contextmanager
def logged_in(engine: Engine, registry: Registry) -> Iterator[Engine]:
    """The engine with a login of its own for this registry; the user's configuration learns nothing of it."""
    authorization = registry.connection.client("ecr").get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(authorization["authorizationToken"]).decode().partition(":")
    with tempfile.TemporaryDirectory(prefix="facetrain-docker-") as folder:
        # A file that names a registry keeps `docker login` from looking for a keychain to write to.
        (Path(folder) / "config.json").write_text(json.dumps({"auths": {registry.address: {}}}))
        own = replace(engine, config=Path(folder))
        own.run("login", "--username", user, "--password-stdin", registry.address, input=password)
        yield own


def ensure_repository(registry: Registry, name: str) -> bool:
    """Create the repository where it is missing: immutable tags, scanned on push. True where it was created.

    One that is there is used as it is.
    """
    ecr = registry.connection.client("ecr")
    try:
        ecr.describe_repositories(repositoryNames=[name])
    except ClientError as error:
        if code(error) != "RepositoryNotFoundException":
            raise
    else:
        return False
    try:
        ecr.create_repository(
            repositoryName=name,
            imageTagMutability="IMMUTABLE",
            imageScanningConfiguration={"scanOnPush": True},
        )
    except ClientError as error:
        if code(error) != "RepositoryAlreadyExistsException":
            raise
    return True


def digest_of(registry: Registry, repository: str, tag: str) -> str | None:
    """The digest of the image that the registry holds by this tag; None where it holds none."""
    answer = registry.connection.client("ecr").batch_get_image(
        repositoryName=repository, imageIds=[{"imageTag": tag}]
    )
    images = answer.get("images", [])
    return str(images[0]["imageId"]["imageDigest"]) if images else None


def push(
    engine: Engine, registry: Registry, tag_of_built: str, repository: str, tag: str, *, show: bool = False
) -> Pushed:
    """Push what the engine holds as `tag_of_built`; nothing is sent where the registry has that tag already.

    show: Docker's own progress on stderr. Raises ImageError.
    """
    digest = digest_of(registry, repository, tag)
    if digest is None:
        name = f"{registry.address}/{repository}:{tag}"
        engine.run("tag", tag_of_built, name)
        if show:
            engine.show("push", name)
        else:
            engine.run("push", "--quiet", name)
        digest = digest_of(registry, repository, tag)
    if digest is None:
        raise ImageError(f"{registry.address}/{repository} does not hold {tag} after the push")
    return Pushed(f"{registry.address}/{repository}@{digest}", digest)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
