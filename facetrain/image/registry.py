"""Where images are kept: the account's ECR, or the registry of the cloud on this machine.

registry = registry_of(connection)
ensure_repository(registry, "face-training")
with logged_in(engine, registry) as own:     # an engine whose commands know the login
    push(own, registry, built.tag, "face-training", fingerprint)
"""

import base64
import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from facetrain.client import Connection, code
from facetrain.image.engine import Engine
from facetrain.image.trouble import ImageError, may_not

_DENIED = {"AccessDenied", "AccessDeniedException"}


@dataclass(frozen=True)
class Registry:
    """A registry of images, and the connection that ECR's own calls go by."""

    address: str  # "localhost:4566" or "<account>.dkr.ecr.<region>.amazonaws.com"
    connection: Connection

    @property
    def ecr(self) -> Any:
        return self.connection.client("ecr")


@dataclass(frozen=True)
class Pushed:
    """An image in a registry, by a name that never means another."""

    uri: str  # "<address>/<repository>@sha256:…"
    digest: str  # sha256:…


def registry_of(connection: Connection) -> Registry:
    """The registry of this connection's account and region, at the address that ECR itself answers.

    Raises ImageError where the credentials may not log in, and boto3's errors.
    """
    authorization = _authorization(connection.client("ecr"))
    return Registry(urlsplit(authorization["proxyEndpoint"]).netloc, connection)


@contextlib.contextmanager
def logged_in(engine: Engine, registry: Registry) -> Iterator[Engine]:
    """The engine with a login for this registry, kept in a folder that goes, never in the user's settings."""
    token = _authorization(registry.ecr)["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    with tempfile.TemporaryDirectory(prefix="facetrain-docker-") as folder:
        own = replace(engine, config=configuration(Path(folder), engine, {registry.address: {}}))
        own.run("login", "--username", user, "--password-stdin", registry.address, input=password)
        yield own


def ensure_repository(registry: Registry, name: str) -> bool:
    """Create the repository where it is missing: immutable tags, scanned on push. True where it was created.

    One that is there is used as it is. Raises ImageError where these credentials may not push to it, or may
    not create it.
    """
    if _takes_layers(registry, name):
        return False
    missing = f"there is no repository {name} in {registry.address}, and "
    with _allowed("ecr:CreateRepository", name, registry, missing, ", or to create it"):
        try:
            registry.ecr.create_repository(
                repositoryName=name,
                imageTagMutability="IMMUTABLE",
                imageScanningConfiguration={"scanOnPush": True},
            )
        except ClientError as error:
            if code(error) != "RepositoryAlreadyExistsException":  # somebody else was as quick
                raise
    if not _takes_layers(registry, name):
        raise ImageError(f"the repository {name} was created and is not there: run the command again")
    return True


def digest_of(registry: Registry, repository: str, tag: str) -> str | None:
    """The digest of the image that the registry holds by this tag; None where it holds none."""
    with _allowed("ecr:BatchGetImage", repository, registry):
        answer = registry.ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": tag}])
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
        raise ImageError(f"{registry.address}/{repository} does not hold {tag} after the push: run it again")
    return Pushed(f"{registry.address}/{repository}@{digest}", digest)


def _takes_layers(registry: Registry, name: str) -> bool:
    """Whether the repository is there, asked by what every push begins with anyway."""
    with _allowed("ecr:InitiateLayerUpload", name, registry):
        try:
            registry.ecr.initiate_layer_upload(repositoryName=name)
        except ClientError as error:
            if code(error) != "RepositoryNotFoundException":
                raise
            return False
    return True


def _authorization(ecr: Any) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = ecr.get_authorization_token()["authorizationData"][0]
    except ClientError as error:
        if code(error) in _DENIED:
            raise ImageError(may_not("ecr:GetAuthorizationToken", "*")) from None
        raise
    return answer


@contextlib.contextmanager
def _allowed(
    action: str, repository: str, registry: Registry, before: str = "", after: str = ""
) -> Iterator[None]:
    """Says which permission on which repository is missing where AWS answers that one is."""
    try:
        yield
    except ClientError as error:
        if code(error) not in _DENIED:
            raise
        where = f"the repository {repository} of {registry.address}"
        raise ImageError(f"{before}{may_not(action, where)}{after}") from None


def configuration(folder: Path, engine: Engine, auths: Mapping[str, Mapping[str, str]]) -> Path:
    """A folder of Docker's settings that leads to the same engine and keeps its logins to itself.

    auths: by registry, as Docker writes them: {"auth": base64 of user:password}, or nothing yet. That a
    registry is named keeps `docker login` from looking for a keychain to write to.
    """
    users = engine.users_configuration()
    settings: dict[str, object] = {"auths": auths}
    try:
        given = json.loads((users / "config.json").read_text())
    except (OSError, ValueError):
        given = {}
    kept = {name: given[name] for name in ("currentContext", "HttpHeaders") if name in given}
    (folder / "config.json").write_text(json.dumps(settings | kept))
    if (users / "contexts").is_dir():
        (folder / "contexts").symlink_to(users / "contexts", target_is_directory=True)
    return folder
