"""MiniStack as Facetrain serves it: every caller known, TLS on loopback, state kept on disk.

`python -m facetrain.local.ministack_app --port PORT` serves MiniStack's own ASGI application behind `Door`.
The rest it reads from the environment, as MiniStack does when imported (`services.ministack_environment`):
this module is for that process alone. It reaches into MiniStack's private parts, as does only the endpoint's
`bridge` beside it. What it relies on:

- `core.iam_evaluator`: `pin_signed_request`, `pin_signed_body` and `authenticate` check a signature, and both
  `is_root_access_key` and `_is_root_key` decide who is root. As shipped, MiniStack takes the key "test", any
  twelve digits, and no key at all for root, and never checks the secret of a root key (it is made for tests
  on a trusted machine). Here the cloud's own random key alone is root, and its signature is checked as well.
- `core.iam_actions._auth_failure`: the code and message AWS gives for each way of failing.
- `services.s3._fire_s3_event` and `services.eventbridge._dispatch_event`: the one hands S3's events to the
  other without the object's version, which AWS sends and which tells two quick drops of one manifest apart.
- `services.cloudwatch_logs._filter_log_events` passes over `logStreamNamePrefix` and answers with every
  stream's events, so that one job's log would hold all jobs'.
- `app._build_persistence_save_dict` and `core.persistence.save_all`: what a clean shutdown writes to disk.
- `app._is_ecr_registry_path`, and what `image_registry` names: the registry that Docker pushes to.

tests/local/test_ministack_app.py fails when a new MiniStack changes any of these.
"""

import argparse
import asyncio
import base64
import hmac
import json
import os
import signal
import threading
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from ministack import app as ministack_app
from ministack.core import iam_actions, iam_evaluator, persistence, responses, router
from ministack.services import cloudwatch_logs, eventbridge, s3, sts

from facetrain.local.image_registry import App, ImageRegistry, Passwords, Receive, Scope, Send, hand_out
from facetrain.local.routes import AUTHENTICATE_PATH, OPEN_PATHS, PRIVATE_PREFIX, SAVE_PATH
from facetrain.local.sagemaker import bridge

SHUTDOWN_SECONDS = 1.0  # for answers that are on their way


def only_configured_key_is_root() -> None:
    """Make MiniStack check every signature, root's too, and know no root key but the configured one."""

    def is_root(access_key_id: str) -> bool:
        return access_key_id == os.environ["AWS_ACCESS_KEY_ID"]

    iam_evaluator.is_root_access_key = is_root
    sts.is_root_access_key = is_root  # imported there by name
    iam_evaluator._is_root_key = lambda _access_key_id: False  # "exempt from the signature check": nobody


def name_versions_in_object_events() -> None:
    """Put `version-id` into the object of S3's EventBridge events, as AWS does for versioned buckets."""
    fire, dispatch = s3._fire_s3_event, eventbridge._dispatch_event
    version: ContextVar[str | None] = ContextVar(
        "version of the object whose event is being sent", default=None
    )

    def fire_with_version(*positional: Any, **named: Any) -> None:
        token = version.set(named.get("version_id"))
        try:
            fire(*positional, **named)
        finally:
            version.reset(token)

    def dispatch_with_version(event: dict[str, Any], view: Any = None) -> None:
        if event.get("Source") == "aws.s3" and (found := version.get()):
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = found
            event = {**event, "Detail": json.dumps(detail)}
        dispatch(event, view)

    s3._fire_s3_event = fire_with_version
    eventbridge._dispatch_event = dispatch_with_version


def filter_events_by_stream_prefix() -> None:
    """Make FilterLogEvents answer with the streams that `logStreamNamePrefix` names and no others."""
    filter_events = cloudwatch_logs._filter_log_events

    def filter_streams(request: dict[str, Any]) -> Any:
        prefix = request.get("logStreamNamePrefix")
        group = cloudwatch_logs._log_groups.get(cloudwatch_logs._resolve_log_group_name(request))
        if prefix and group:
            # An empty list would mean every stream; no stream has an empty name.
            names = [name for name in group["streams"] if name.startswith(prefix)] or [""]
            request = {**request, "logStreamNames": names}
        return filter_events(request)

    cloudwatch_logs._filter_log_events = filter_streams


def authenticate(request: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """Who signed a forwarded request: (200, principal) or (403, {"code", "message"}) as AWS words it.

    request: {"method", "path", "query", "headers": {name: value}, "body": base64}, exactly as it arrived.
    """
    headers = {name.lower(): value for name, value in request["headers"].items()}
    query = parse_qs(request.get("query", ""), keep_blank_values=True)
    raw_headers = [(name.encode("latin-1"), value.encode()) for name, value in headers.items()]
    iam_evaluator.pin_signed_request(request["method"], request["path"], query, raw_headers)
    iam_evaluator.pin_signed_body(base64.b64decode(request.get("body", "")))
    caller = iam_evaluator.authenticate(
        router.extract_access_key_id(headers, query), responses.get_account_id()
    )
    if caller is None:
        caller = iam_evaluator.AuthError(
            "MissingAuthenticationToken", "Request is missing Authentication Token"
        )
    if isinstance(caller, iam_evaluator.AuthError):
        code, _status, message = iam_actions._auth_failure(
            "sagemaker", caller.code, caller.message, {"x-amz-target": "-"}
        )
        return 403, {"code": code, "message": message}
    return 200, {"principal_arn": caller.principal_arn, "account": caller.account_id}


def save_state() -> None:
    """Write every service's state to STATE_DIR, as a clean shutdown does, so that a crash loses little."""
    persistence.save_all(ministack_app._build_persistence_save_dict())


async def _read_body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _answer(send: Send, status: int, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Door:
    """The ASGI application in front of MiniStack: our private routes, and no entry without a signature.

    registry: what answers Docker, which signs nothing and gives a password.
    """

    def __init__(self, app: App, secret: str, registry: App) -> None:
        self.app = app
        self.registry = registry
        self.expected = f"Bearer {secret}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and scope["path"].startswith(PRIVATE_PREFIX):
            await self._private(scope, receive, send)
        elif scope["type"] == "http" and ministack_app._is_ecr_registry_path(scope["path"]):
            await self.registry(scope, receive, send)
        elif scope["type"] == "http" and (refusal := _refusal(scope)):
            await _answer(send, 403, {"__type": "MissingAuthenticationTokenException", "message": refusal})
        else:
            await self.app(scope, receive, send)

    async def _private(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, self.expected):
            await _answer(send, 403, {"code": "AccessDeniedException", "message": "Not for callers outside."})
        elif scope["path"] == AUTHENTICATE_PATH:
            await _answer(send, *authenticate(json.loads(body)))
        elif scope["path"] in bridge.ROUTES:
            await _answer(send, 200, _bridged(scope["path"], json.loads(body)))
        elif scope["path"] == SAVE_PATH:
            save_state()
            await _answer(send, 200, {})
        else:
            await _answer(send, 404, {"code": "NotFound", "message": scope["path"]})


def _bridged(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """One of the endpoint's routes, in the account and region that MiniStack's code expects to be in."""
    responses.set_request_region(os.environ["AWS_REGION"])
    return bridge.ROUTES[path](body, responses.get_account_id(), responses.get_region())


def _refusal(scope: Scope) -> str | None:
    """Why a request may not reach MiniStack, or None. How well it is signed MiniStack checks itself."""
    path: str = scope["path"]
    if path.startswith("/_ministack/"):
        return None if path.startswith(OPEN_PATHS) else f"{path} is not open to anyone"
    headers = {name.lower(): value for name, value in scope["headers"]}
    if headers.get(b"authorization", b"").startswith(b"AWS") or b"Signature=" in scope["query_string"]:
        return None
    return "Request is missing Authentication Token"


def serve(port: int, secret: str, images: Path) -> None:
    """Serve until SIGTERM or SIGINT, as MiniStack's own `main` does, but on loopback alone.

    images: the folder of the image registry's layers.
    """
    only_configured_key_is_root()
    name_versions_in_object_events()
    filter_events_by_stream_prefix()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = SHUTDOWN_SECONDS / 2
    config.certfile = os.environ["MINISTACK_SSL_CERT"]
    config.keyfile = os.environ["MINISTACK_SSL_KEY"]
    passwords = Passwords(secret)
    hand_out(passwords, f"https://localhost:{port}")
    registry = ImageRegistry(ministack_app.app, images, passwords)
    app: Any = Door(ministack_app.app, secret, registry)  # hypercorn's types name every kind of ASGI message
    asyncio.run(hypercorn_serve(app, config, shutdown_trigger=partial(told_to_stop, registry)))


async def told_to_stop(registry: ImageRegistry) -> None:
    """Return at SIGTERM or SIGINT with the state saved and no layer too many; the process ends soon after.

    Left alone, TLS connections that clients keep open hold up hypercorn, and so MiniStack's own saving, for
    half a minute each (asyncio waits so long for their goodbye), and a Lambda at work holds up its thread.
    """
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()
    save_state()
    registry.forget_unnamed()
    last = threading.Timer(SHUTDOWN_SECONDS, os._exit, [0])  # not the loop's: threads are joined after it
    last.daemon = True
    last.start()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--images", type=Path, required=True, help="folder of the registry's layers")
    arguments = parser.parse_args()
    # Taken out of the environment, which the Lambdas that MiniStack starts inherit.
    serve(arguments.port, os.environ.pop("FACETRAIN_BRIDGE_TOKEN"), arguments.images)


if __name__ == "__main__":
    main()
