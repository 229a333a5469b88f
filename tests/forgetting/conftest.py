"""An empty account, and a folder for what is on its way."""

from pathlib import Path

import pytest

from tests.forgetting.fake_s3 import FakeS3


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


@pytest.fixture
def aside(tmp_path: Path) -> Path:
    folder = tmp_path / "aside"
    folder.mkdir()
    return folder
