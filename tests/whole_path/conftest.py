"""One deployed account and one small dataset for all tests of the whole path."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from facetrain.client import Connection, discover
from facetrain.local.cloud import Cloud
from tests.whole_path.account import Account, write_faces


@pytest.fixture(scope="session")
def deployed(cloud: Cloud) -> Account:
    environment = cloud.environment()
    return Account(discover(Connection(environment), environment["FACETRAIN_STAGE"]), environment)


@pytest.fixture
def account(deployed: Account) -> Iterator[Account]:
    yield deployed
    deployed.stop_all()


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder)
    return folder
