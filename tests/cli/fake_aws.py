"""As much of AWS as the client talks to, over HTTP on loopback: real boto3, real retries, real checksums."""

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.cli.fake_multipart import Multipart

Answer = Mapping[str, Any]
Handler = Callable[[dict[str, Any]], Answer]


class ServiceError(Exception):
    """What a handler raises to answer with a modelled error."""

    def __init__(self, code: str, message: str = "", status: int = 400):
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


@dataclass
class Object:
    data: bytes
    version: str
    checksum: str | None


@dataclass
class FakeAws:
    """handlers: what answers `Service.Operation`, `invoke` (Lambda) or a query protocol's `Action`."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    objects: dict[str, Object] = field(default_factory=dict)  # by bucket/key
    requests: list[str] = field(default_factory=list)  # "PUT bucket/key", "SageMaker.DescribeTrainingJob", …
    refuse_put: Callable[[str], bool] = lambda key: False
    trouble: Callable[[str], "ServiceError | None"] = lambda request: None  # of S3, by method and place
    multipart: Multipart = field(default_factory=Multipart)
    bucket_regions: dict[str, str] = field(default_factory=dict)  # what HEAD says of a bucket
    failing_function: bool = False  # the Lambda raises what `invoke` answers
    url: str = ""

    def puts(self) -> list[str]:
        """The objects that were put whole."""
        return [request.removeprefix("PUT ") for request in self.requests if request.startswith("PUT ")]

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }


def serving(aws: FakeAws) -> Iterator[FakeAws]:
    """Serves `aws` for the body of a fixture."""
    handler = type("BoundRequest", (_Request,), {"aws": aws})
    with _Server(("127.0.0.1", 0), handler) as server:
        aws.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield aws
        server.shutdown()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was interrupted closes its connection: no reason to print anything."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Request(BaseHTTPRequestHandler):
    aws: FakeAws
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Silence."""

    def do_POST(self) -> None:
        body = self._body()
        target = self.headers.get("X-Amz-Target")
        try:
            if "uploads" in self._query() or "uploadId" in self._query():
                self._begin_or_complete(body.decode())
            elif target:
                service, operation = target.split(".")
                self._json(
                    self._handle(f"{service.partition('_')[0]}.{operation}", json.loads(body or b"{}"))
                )
            elif self.path.endswith("/invocations"):
                self._json(self._handle("invoke", json.loads(body)), failed=self.aws.failing_function)
            else:
                query = {name: values[0] for name, values in parse_qs(body.decode()).items()}
                self._xml(200, self._handle(query["Action"], query)["xml"])
        except ServiceError as error:
            if target:
                self._json({"__type": error.code, "message": error.message}, error.status)
            else:
                self._error(error.status, error.code, error.message)

    def _handle(self, name: str, body: dict[str, Any]) -> Answer:
        self.aws.requests.append(name)
        if name not in self.aws.handlers:
            raise ServiceError("AccessDeniedException", f"nothing answers {name} here")
        return self.aws.handlers[name](body)

    def do_PUT(self) -> None:
        data, place, query = self._body(), self._place(), self._query()
        self.aws.requests.append(f"{'PART' if query else 'PUT'} {place}")
        if trouble := self.aws.trouble(self.aws.requests[-1]):
            return self._error(trouble.status, trouble.code, trouble.message)
        checksum = self.headers.get("x-amz-checksum-sha256")
        if checksum and checksum != base64.b64encode(hashlib.sha256(data).digest()).decode():
            return self._error(400, "BadDigest", "the checksum does not match")
        if self.aws.refuse_put(place):
            return self._error(403, "AccessDenied", "no write here")
        if query:
            etag = self.aws.multipart.put(query["uploadId"][0], int(query["partNumber"][0]), data)
            return self._send(200, b"", {"ETag": etag, "x-amz-checksum-sha256": checksum or ""})
        stored = Object(data, f"v{len(self.aws.requests)}", checksum)
        self.aws.objects[place] = stored
        return self._send(200, b"", {"ETag": _etag(data), "x-amz-version-id": stored.version})

    def do_HEAD(self) -> None:
        self._object(with_body=False)

    def do_GET(self) -> None:
        query = self._query()
        if "list-type" in query:
            self._list(query)
        elif "uploads" in query:
            self._xml(200, self.aws.multipart.list_uploads(query.get("prefix", [""])[0]))
        elif "uploadId" in query:
            self._xml(200, self.aws.multipart.list_parts(query["uploadId"][0]))
        else:
            self._object(with_body=True)

    def do_DELETE(self) -> None:
        self.aws.requests.append(f"ABORT {self._place()}")
        del self.aws.multipart.uploads[self._query()["uploadId"][0]]
        self._send(204, b"", {})

    def _begin_or_complete(self, body: str) -> None:
        place, query = self._place(), self._query()
        bucket, _, key = place.partition("/")
        if "uploads" in query:
            return self._xml(200, self.aws.multipart.begin(bucket, key))
        data, checksum = self.aws.multipart.complete(query["uploadId"][0], body)
        self.aws.objects[place] = Object(data, f"v{len(self.aws.requests)}", checksum)
        done = f"<CompleteMultipartUploadResult><Key>{escape(key)}</Key></CompleteMultipartUploadResult>"
        return self._xml(200, done)

    def _object(self, with_body: bool) -> None:
        place = self._place()
        self.aws.requests.append(f"{self.command} {place}")
        found = self.aws.objects.get(place)
        if found is None:
            return self._error(404, "NoSuchKey", "The specified key does not exist.")
        headers = {"ETag": _etag(found.data), "x-amz-version-id": found.version}
        if region := self.aws.bucket_regions.get(place):
            headers["x-amz-bucket-region"] = region
        if found.checksum and self.headers.get("x-amz-checksum-mode") == "ENABLED":
            headers["x-amz-checksum-sha256"] = found.checksum
        if with_body:
            return self._send(200, found.data, headers)
        return self._send(200, b"", headers | {"Content-Length": str(len(found.data))})

    def _list(self, query: Mapping[str, list[str]]) -> None:
        bucket, prefix = self._place().rstrip("/"), query.get("prefix", [""])[0]
        delimiter = query.get("delimiter", [""])[0]
        keys = sorted(
            place.partition("/")[2] for place in self.aws.objects if place.startswith(f"{bucket}/{prefix}")
        )
        folders = {
            prefix + rest.partition(delimiter)[0] + delimiter
            for rest in (key.removeprefix(prefix) for key in keys)
            if delimiter and delimiter in rest
        }
        plain = [key for key in keys if not any(key.startswith(folder) for folder in folders)]
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.aws.objects[f'{bucket}/{key}'].data)}</Size></Contents>"
            for key in plain
        )
        common = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders)
        )
        self._xml(
            200, f"<ListBucketResult>{contents}{common}<IsTruncated>false</IsTruncated></ListBucketResult>"
        )

    def _query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    def _place(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, answer: Answer, status: int = 200, failed: bool = False) -> None:
        headers = {"Content-Type": "application/x-amz-json-1.1"}
        error = {"X-Amz-Function-Error": "Unhandled"} if failed else {}
        self._send(status, json.dumps(answer).encode(), headers | error)

    def _xml(self, status: int, text: str) -> None:
        self._send(status, text.encode(), {"Content-Type": "text/xml"})

    def _error(self, status: int, code: str, message: str) -> None:
        inside = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
        rest = urlsplit(self.path).path != "/"  # S3 answers <Error>, the query services <ErrorResponse>
        self._xml(
            status,
            f"<Error>{inside}</Error>" if rest else f"<ErrorResponse><Error>{inside}</Error></ErrorResponse>",
        )

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def table_of(text: str) -> list[list[str]]:
    """The cells of a printed table, heading first."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]


def fields_of(text: str) -> dict[str, str]:
    """The values of printed `name  value` lines."""
    rows = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in text.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) == 2}
