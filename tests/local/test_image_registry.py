"""The registry that Docker pushes to: a password at its door, layers on disk, nothing half-written."""

import base64
import hashlib
import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from facetrain.local import services
from facetrain.local.clients import client
from facetrain.local.image_registry import PASSWORD_SECONDS, Passwords
from facetrain.local.services import Servers

REPOSITORY = "team/faces"
LAYER = b"a layer" * 1000
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Docker:
    """What a Docker engine says to a registry, as plain requests."""

    def __init__(self, servers: Servers, token: str | None = None) -> None:
        self.servers = servers
        if token is None:
            answer = client(servers, "ecr").get_authorization_token()
            token = answer["authorizationData"][0]["authorizationToken"]
        self.headers = {"authorization": f"Basic {token}"}

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        context = ssl.create_default_context(cafile=str(self.servers.tls.authority))
        line = http.client.HTTPSConnection("localhost", self.servers.port, context=context, timeout=10)
        try:
            line.request(method, path, body or None, {**self.headers, **(headers or {})})
            answer = line.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            line.close()

    def begin(self) -> str:
        status, headers, _ = self.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/")
        assert status == 202
        return headers["location"]

    def push_blob(self, data: bytes) -> int:
        """In two pieces and an end, as Docker sends a layer."""
        place = self.begin()
        for piece in (data[:10], data[10:]):
            status, headers, _ = self.ask("PATCH", place, piece)
            assert status == 202
        assert headers["range"] == f"0-{len(data) - 1}"
        return self.ask("PUT", f"{place}?digest={digest(data)}")[0]

    def push(self, tag: str, layer: bytes = LAYER) -> str:
        """An image of one layer; its digest."""
        config = b'{"architecture": "amd64"}'
        for blob in (config, layer):
            assert self.push_blob(blob) == 201
        named = [{"digest": digest(blob), "size": len(blob)} for blob in (config, layer)]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": named[0], "layers": named[1:]}
        body = json.dumps(manifest).encode()
        path = f"/v2/{REPOSITORY}/manifests/{tag}"
        status, headers, _ = self.ask("PUT", path, body, {"content-type": MANIFEST_TYPE})
        assert status == 201
        return headers["docker-content-digest"]


def blobs(servers: Servers) -> set[str]:
    return {f"sha256:{path.name}" for path in (servers.home.images / "blobs" / "sha256").iterdir()}


@pytest.fixture
def docker(gateway: Servers) -> Docker:
    ecr = client(gateway, "ecr")
    if not ecr.describe_repositories()["repositories"]:
        ecr.create_repository(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")
    return Docker(gateway)


@pytest.mark.parametrize("user", ["AWS:ministack-auth-token", "AWS:", "root:x", "AWS:9999999999-00", "AWS:é"])
def test_no_other_password_opens_the_registry(gateway: Servers, user: str) -> None:
    status, headers, _ = Docker(gateway, base64.b64encode(user.encode()).decode()).ask("GET", "/v2/")
    assert (status, headers["www-authenticate"].split()[0]) == (401, "Basic")


@pytest.mark.parametrize("header", ["", "Basic ***", "Bearer x", "AWS4-HMAC-SHA256 Credential=x"])
def test_what_is_no_password_at_all_is_refused(gateway: Servers, header: str) -> None:
    one = Docker(gateway, "")
    one.headers = {"authorization": header}
    assert one.ask("GET", "/v2/_catalog")[0] == 401


def test_the_authorization_token_opens_it_and_names_its_address(docker: Docker) -> None:
    assert docker.ask("GET", "/v2/")[0] == 200
    answer = client(docker.servers, "ecr").get_authorization_token()["authorizationData"][0]
    assert answer["proxyEndpoint"] == f"https://{urlsplit(docker.servers.endpoint).netloc}"


def test_a_password_ends_after_twelve_hours_and_cannot_be_prolonged() -> None:
    mine = Passwords("secret")
    password = mine.make(1000.0)
    assert mine.hold(password, 1000.0 + PASSWORD_SECONDS - 1)
    assert not mine.hold(password, 1000.0 + PASSWORD_SECONDS)
    assert not mine.hold("9" + password, 1000.0)
    assert not Passwords("other").hold(password, 1000.0)


def test_a_layer_comes_back_as_it_was_pushed_and_ecr_lists_the_image(docker: Docker) -> None:
    pushed = docker.push("1")
    path = f"/v2/{REPOSITORY}/blobs/{digest(LAYER)}"
    assert docker.ask("GET", path)[::2] == (200, LAYER)
    status, headers, body = docker.ask("HEAD", path)
    assert (status, headers["content-length"], body) == (200, str(len(LAYER)), b"")
    found = client(docker.servers, "ecr").describe_images(repositoryName=REPOSITORY)["imageDetails"]
    assert (pushed, ["1"]) in [(image["imageDigest"], image["imageTags"]) for image in found]


def test_a_tag_that_is_there_takes_no_other_image(docker: Docker) -> None:
    docker.push("same")
    manifest = json.dumps({"schemaVersion": 2, "layers": []}).encode()
    status, _, body = docker.ask("PUT", f"/v2/{REPOSITORY}/manifests/same", manifest)
    assert (status, json.loads(body)["errors"][0]["code"]) == (400, "TAG_INVALID")


def test_a_layer_that_is_not_what_it_says_is_not_kept(docker: Docker) -> None:
    place = docker.begin()
    docker.ask("PATCH", place, b"damaged")
    status, _, body = docker.ask("PUT", f"{place}?digest={digest(b'whole')}")
    assert (status, json.loads(body)["errors"][0]["code"]) == (400, "DIGEST_INVALID")
    assert docker.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest(b'whole')}")[0] == 404
    assert docker.ask("GET", place)[0] == 404


def test_a_layer_that_is_here_is_not_sent_again(docker: Docker) -> None:
    docker.push("1")
    path = f"/v2/{REPOSITORY}/blobs/uploads/?mount={digest(LAYER)}&from={REPOSITORY}"
    assert docker.ask("POST", path)[0] == 201
    assert docker.ask("POST", path.replace(digest(LAYER), digest(b"unknown")))[0] == 202


@pytest.mark.parametrize("name", ["../../credentials.json", "sha256:..", "sha256:" + "0" * 63])
def test_no_name_leads_out_of_the_folder(docker: Docker, name: str) -> None:
    assert docker.ask("GET", f"/v2/{REPOSITORY}/blobs/{name}")[0] == 404
    place = docker.begin()
    assert docker.ask("PUT", f"{place}?digest={name}", b"x")[0] == 400


def test_a_repository_that_is_not_there_takes_nothing(docker: Docker) -> None:
    status, _, body = docker.ask("POST", "/v2/nobody/blobs/uploads/")
    assert (status, json.loads(body)["errors"][0]["code"]) == (404, "NAME_UNKNOWN")


def test_a_cancelled_upload_leaves_nothing(docker: Docker) -> None:
    place = docker.begin()
    docker.ask("PATCH", place, b"half")
    assert docker.ask("DELETE", place)[0] == 204
    incoming: Path = docker.servers.home.images / "uploads"
    assert place.rpartition("/")[2] not in [path.name for path in incoming.iterdir()]


def test_saving_writes_no_layer_and_a_stopped_cloud_keeps_what_images_name(docker: Docker) -> None:
    layer = b"kept" * 100_000
    pushed = docker.push("kept", layer)
    docker.push_blob(b"in no image")
    docker.servers.save()
    state = docker.servers.home.ministack / "state" / "ecr.json"
    assert state.stat().st_size < 50_000
    services.stop(docker.servers.home)
    assert digest(layer) in blobs(docker.servers)
    assert digest(b"in no image") not in blobs(docker.servers)
    docker.servers.start_ministack()
    assert docker.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest(layer)}")[::2] == (200, layer)
    assert docker.ask("HEAD", f"/v2/{REPOSITORY}/manifests/{pushed}")[0] == 200
