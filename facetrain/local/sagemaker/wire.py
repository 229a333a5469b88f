"""AWS JSON 1.1: which operation a request names, and how answers and errors are written."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.model import ListShape, Shape, StructureShape

from facetrain.local.sagemaker.errors import ServiceError

CONTENT_TYPE = "application/x-amz-json-1.1"
TARGET_PREFIX = "SageMaker."


@dataclass(frozen=True)
class Request:
    """An HTTP request as it arrived. Header names are in lower case; `path` is still percent-encoded."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def operation_name(request: Request) -> str:
    """The operation of a request; ServiceError(UnknownOperationException) where it names none."""
    target = request.headers.get("x-amz-target", "")
    if request.method != "POST" or not target.startswith(TARGET_PREFIX):
        raise ServiceError(
            "UnknownOperationException",
            "A SageMaker request is a POST with X-Amz-Target: SageMaker.<Operation>",
        )
    return target.removeprefix(TARGET_PREFIX)


def parse(body: bytes) -> dict[str, Any]:
    """The request's document; an empty body counts as {}."""
    try:
        document = json.loads(body or b"{}")
    except ValueError as error:
        raise ServiceError("SerializationException", f"The body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ServiceError("SerializationException", "The body is not a JSON object")
    return document


def answer(shape: Shape | None, value: Mapping[str, Any]) -> Response:
    """A success. Only members that the output shape has are written; timestamps are epoch seconds already."""
    return _response(200, written(shape, value) if shape else {})


def error_answer(error: ServiceError) -> Response:
    return _response(error.status, {"__type": error.code, "message": error.message})


def written(shape: Shape, value: Any) -> Any:
    """`value` cut down to what `shape` has: a client must never see members that AWS does not send."""
    if isinstance(shape, StructureShape):
        known = ((name, member) for name, member in shape.members.items() if value.get(name) is not None)
        return {name: written(member, value[name]) for name, member in known}
    if isinstance(shape, ListShape):
        return [written(shape.member, item) for item in value]
    return value


def _response(status: int, document: Any) -> Response:
    headers = {"content-type": CONTENT_TYPE, "x-amzn-requestid": str(uuid.uuid4())}
    return Response(status, json.dumps(document).encode(), headers)
