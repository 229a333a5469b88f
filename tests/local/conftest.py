"""MiniStack alone behind our door: no stacks, no SageMaker endpoint, up in a second."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from facetrain.local import certificates, ports, services
from facetrain.local.credentials import credentials
from facetrain.local.home import Home
from facetrain.local.services import Servers


def make_servers(root: Path, name: str = "default") -> Servers:
    """A cloud's files and addresses, with nothing started."""
    home = Home(root, name)
    home.create()
    port, sagemaker_port = ports.choose(2, [])
    servers = Servers(home, port, sagemaker_port, port, credentials(home))
    certificates.make(servers.tls, dt.datetime.now(dt.UTC))
    return servers


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = make_servers(tmp_path_factory.mktemp("gateway"))
    try:
        servers.start_ministack()
        yield servers
    finally:
        services.stop(servers.home)
