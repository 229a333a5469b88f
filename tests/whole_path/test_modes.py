"""A drop is trained on alike, whether the service copies its shards or streams them."""

import io
import tarfile
from pathlib import Path

import pytest

from facetrain.datasets.pack import pack
from tests.whole_path.account import QUICK, Account, manifest
from training.jobs.uri import S3Uri

pytestmark = pytest.mark.cloud


def test_the_same_job_in_both_modes_gives_the_same_weights(
    account: Account, faces: Path, tmp_path: Path
) -> None:
    pack(faces / "images", tmp_path / "images", shard_bytes=100_000)
    account.upload("modes", tmp_path)
    alike = QUICK | {"max_steps": 1, "holdout_fraction": 0}  # nothing is verified
    names = [
        account.drop("modes", manifest(input_mode=mode, hyperparameters=alike))
        for mode in ("File", "FastFile")
    ]
    jobs = [account.wait_for_end(name) for name in names]
    asked = [
        {channel["ChannelName"]: channel["InputMode"] for channel in job["InputDataConfig"]} for job in jobs
    ]
    assert [modes["images"] for modes in asked] == ["File", "FastFile"]
    file, fast = (weights(account, S3Uri.parse(job["ModelArtifacts"]["S3ModelArtifacts"])) for job in jobs)
    assert file == fast


def weights(account: Account, model: S3Uri) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(account.read(model))) as archive:
        (name,) = [name for name in archive.getnames() if Path(name).name == "backbone.pth"]
        found = archive.extractfile(name)
        assert found is not None
        return found.read()
