"""The endpoint on the network: TLS on loopback, HTTP by hypercorn, each request answered in a thread."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from facetrain.local.routes import SAGEMAKER_HEALTH_PATH
from facetrain.local.sagemaker.wire import Request, Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handle = Callable[[Request], Response]

BODY_LIMIT = 4 * 1024 * 1024  # bytes; the largest lawful CreateTrainingJob is well below one
DRAIN_SECONDS = 1  # for requests under way when the end comes


class App:
    """The ASGI application. `status` is what the health path tells."""

    def __init__(self, handle: Handle, status: Callable[[], dict[str, Any]]) -> None:
        self._handle, self._status = handle, status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _respond(send, await self._answer(scope, receive))

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        if scope["path"] == SAGEMAKER_HEALTH_PATH:
            return Response(200, json.dumps(self._status()).encode(), {"content-type": "application/json"})
        body = await _body(receive)
        if body is None:
            return Response(413, b"", {})
        request = Request(
            method=scope["method"],
            path=scope.get("raw_path", scope["path"].encode()).decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers={
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
            },
            body=body,
        )
        return await asyncio.to_thread(self._handle, request)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None where it is too large."""
    parts, size = [], 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > BODY_LIMIT:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _respond(send: Send, response: Response) -> None:
    headers = {**response.headers, "content-length": str(len(response.body))}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": encoded})
    await send({"type": "http.response.body", "body": response.body})


def listen(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one. OSError where the port is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


async def serve(app: App, listener: socket.socket, certificate: Path, key: Path, told: asyncio.Event) -> None:
    """Serve on `listener` until told to end."""
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]  # from here on the server's, which closes it
    config.certfile, config.keyfile = str(certificate), str(key)
    config.graceful_timeout = DRAIN_SECONDS
    config.keep_alive_timeout = 75
    config.accesslog = None
    config.errorlog = None  # what goes wrong in a request is logged where it happens
    served: Any = app  # hypercorn's types name every kind of message apart
    await hypercorn_serve(served, config, shutdown_trigger=told.wait)
