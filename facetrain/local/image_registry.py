"""The cloud's image registry: MiniStack's own, with its layers on disk and a password at its door.

As shipped, MiniStack takes any password, holds every layer in memory, several times while it arrives, and
writes all of them as text into its state whenever it saves. So layers and configurations go here:

    <folder>/blobs/sha256/<hex>   whole, and what its name says
    <folder>/uploads/<id>         still arriving; gone at the next start

Manifests, tags, repositories and the images that DescribeImages lists stay MiniStack's: they are small. It
reaches into `services.ecr`: `_parse_v2_path`, `_ensure_repo_exists`, `_images`, `_get_authorization_token`.
Protocol: https://distribution.github.io/distribution/spec/api/
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from ministack.core import responses
from ministack.services import ecr

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

USER = "AWS"  # the only user name that ECR knows
PASSWORD_SECONDS = 12 * 3600  # as long as ECR's
PIECE = 1 << 20
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Passwords:
    """What GetAuthorizationToken hands out. Nothing is remembered: a password carries its end and a seal."""

    secret: str = field(repr=False)

    def make(self, now: float) -> str:
        until = str(int(now + PASSWORD_SECONDS))
        return f"{until}-{self._seal(until)}"

    def hold(self, password: str, now: float) -> bool:
        until, _, seal = password.partition("-")
        return until.isdigit() and int(until) > now and hmac.compare_digest(seal, self._seal(until))

    def _seal(self, until: str) -> str:
        return hmac.new(self.secret.encode(), f"registry {until}".encode(), hashlib.sha256).hexdigest()


def hand_out(passwords: Passwords, address: str) -> None:
    """Make GetAuthorizationToken, which MiniStack allows by IAM, answer with a password of ours."""

    def get_authorization_token(_request: dict[str, Any]) -> Any:
        now = time.time()
        token = base64.b64encode(f"{USER}:{passwords.make(now)}".encode()).decode()
        data = {
            "authorizationToken": token,
            "expiresAt": int(now) + PASSWORD_SECONDS,
            "proxyEndpoint": address,
        }
        return responses.json_response({"authorizationData": [data]})

    ecr._get_authorization_token = get_authorization_token


@dataclass
class Upload:
    """A layer on its way in."""

    path: Path
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


class ImageRegistry:
    """`/v2/`: the blobs itself, everything else by MiniStack's application."""

    def __init__(self, app: App, folder: Path, passwords: Passwords) -> None:
        self._app, self._passwords = app, passwords
        self._blobs, self._incoming = folder / "blobs" / "sha256", folder / "uploads"
        self._uploads: dict[str, Upload] = {}
        shutil.rmtree(self._incoming, ignore_errors=True)
        for path in (self._blobs, self._incoming):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._passwords.hold(_password(scope), time.time()):
            challenge = {"www-authenticate": f'Basic realm="facetrain",service="{scope["path"]}"'}
            await _error(send, 401, "UNAUTHORIZED", "log in with `aws ecr get-login-password`", challenge)
            return
        responses.set_request_region(os.environ["AWS_REGION"])
        verb, name, reference = ecr._parse_v2_path(scope["path"]) or ("", "", "")
        handlers = {"blob_uploads": self._begin, "blob_upload_session": self._continue, "blob": self._blob}
        if verb not in handlers:
            await self._app(scope, receive, send)
        elif (refusal := ecr._ensure_repo_exists(name)) is not None:
            status, headers, body = refusal
            await _answer(send, status, headers, body)
        else:
            await handlers[verb](scope, receive, send, name, reference)

    def forget_unnamed(self) -> None:
        """Remove the blobs that no image's manifest names any more."""
        manifests = [image["imageManifest"] for _, images in ecr._images._data.items() for image in images]
        named = {digest for manifest in manifests for digest in _DIGEST.findall(manifest)}
        for path in self._blobs.iterdir():
            if path.name not in named:
                path.unlink()

    def _file(self, digest: str) -> Path | None:
        match = _DIGEST.fullmatch(digest)
        return self._blobs / match[1] if match else None

    async def _begin(self, scope: Scope, receive: Receive, send: Send, name: str, _reference: str) -> None:
        """POST: a new upload, or none at all where the blob is here already, whoever pushed it."""
        mounted = self._file(_query(scope, "mount"))
        if mounted is not None and mounted.exists():
            await _created(send, name, f"sha256:{mounted.name}")
            return
        number = uuid.uuid4().hex
        self._uploads[number] = Upload(self._incoming / number)
        self._uploads[number].path.touch(mode=0o600)
        if _query(scope, "digest"):  # all of it at once
            await self._continue({**scope, "method": "PUT"}, receive, send, name, number)
        else:
            await _answer(send, 202, self._state(name, number))

    async def _continue(self, scope: Scope, receive: Receive, send: Send, name: str, number: str) -> None:
        """PATCH: more of it; PUT: the rest of it, under its digest; GET: how far it is; DELETE: no more."""
        upload = self._uploads.get(number)
        if upload is None:
            await _error(send, 404, "BLOB_UPLOAD_UNKNOWN", f"no upload {number}")
            return
        if scope["method"] in ("PATCH", "PUT"):
            try:
                await _append(upload, receive)
            except OSError as problem:
                self._drop(number)
                await _error(send, 400, "BLOB_UPLOAD_INVALID", f"the registry cannot keep it: {problem}")
                return
        if scope["method"] == "PUT":
            await self._finish(send, name, number, _query(scope, "digest"))
        elif scope["method"] == "DELETE":
            self._drop(number)
            await _answer(send, 204)
        else:
            await _answer(send, 202 if scope["method"] == "PATCH" else 204, self._state(name, number))

    async def _finish(self, send: Send, name: str, number: str, digest: str) -> None:
        upload, target = self._uploads[number], self._file(digest)
        if target is None or upload.digest.hexdigest() != target.name:
            self._drop(number)
            await _error(send, 400, "DIGEST_INVALID", f"what arrived is not {digest or 'named by a digest'}")
            return
        del self._uploads[number]
        upload.path.replace(target)
        await _created(send, name, digest)

    def _drop(self, number: str) -> None:
        self._uploads.pop(number).path.unlink(missing_ok=True)

    def _state(self, name: str, number: str) -> dict[str, str]:
        return {
            "location": f"/v2/{name}/blobs/uploads/{number}",
            "range": f"0-{max(0, self._uploads[number].size - 1)}",
            "docker-upload-uuid": number,
        }

    async def _blob(self, scope: Scope, _receive: Receive, send: Send, _name: str, digest: str) -> None:
        """GET and HEAD; what is no longer named goes when the cloud stops."""
        path = self._file(digest)
        if scope["method"] not in ("GET", "HEAD"):
            await _error(send, 405, "UNSUPPORTED", "blobs are read here, and removed with their images")
        elif path is None or not path.exists():
            await _error(send, 404, "BLOB_UNKNOWN", f"no blob {digest}")
        else:
            headers = {"content-type": "application/octet-stream", "docker-content-digest": digest}
            await _send_file(send, path, headers, with_body=scope["method"] == "GET")


async def _append(upload: Upload, receive: Receive) -> None:
    """Write the request's body, as it comes, behind what is there. OSError where the disk is full."""
    with upload.path.open("ab") as file:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client went away")
            piece = message.get("body", b"")
            file.write(piece)
            upload.digest.update(piece)
            upload.size += len(piece)
            if not message.get("more_body"):
                return


async def _send_file(send: Send, path: Path, headers: Mapping[str, str], *, with_body: bool) -> None:
    whole = {**headers, "content-length": str(path.stat().st_size)}
    await _start(send, 200, whole)
    if with_body:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _created(send: Send, name: str, digest: str) -> None:
    await _answer(send, 201, {"location": f"/v2/{name}/blobs/{digest}", "docker-content-digest": digest})


async def _error(
    send: Send, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> None:
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": {}}]}).encode()
    await _answer(send, status, {"content-type": "application/json", **(headers or {})}, body)


async def _answer(
    send: Send, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> None:
    length = {} if status == 204 else {"content-length": str(len(body))}
    await _start(send, status, {**(headers or {}), **length})
    await send({"type": "http.response.body", "body": body})


async def _start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    whole = {"docker-distribution-api-version": "registry/2.0", **headers}
    pairs = [(name.lower().encode(), value.encode()) for name, value in whole.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})


def _password(scope: Scope) -> str:
    """The password of Basic authentication; empty where there is none."""
    given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    kind, _, encoded = given.partition(" ")
    if kind.lower() != "basic":
        return ""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password if user == USER else ""


def _query(scope: Scope, name: str) -> str:
    values: list[str] = parse_qs(scope["query_string"].decode("latin-1")).get(name, [""])
    return values[0]
