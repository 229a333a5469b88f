"""One deployed account and one small dataset for all tests of the whole path."""

from pathlib import Path

import pytest

from facetrain.client import Connection, discover
from facetrain.local.cloud import Cloud
from tests.whole_path.account import Account, write_faces


@pytest.fixture(scope="session")
def account(cloud: Cloud) -> Account:
    environment = cloud.environment()
    return Account(discover(Connection(environment), environment["FACETRAIN_STAGE"]), environment)


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder)
    return folder
