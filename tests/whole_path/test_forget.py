"""A person who was forgotten is in no version of any object, and no job learns from them again."""

import gzip
import io
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facetrain.cli.entry import run
from facetrain.datasets.pack import pack
from facetrain.forgetting.versions import Version, by_key
from facetrain.local.cloud import Cloud
from tests.whole_path.account import Account, manifest, write_faces
from training.jobs import contract
from training.jobs.forgotten import Forgotten

pytestmark = pytest.mark.cloud


@pytest.fixture
def facetrain(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> "Command":
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)
    return Command(capsys)


class Command:
    def __init__(self, capture: pytest.CaptureFixture[str]):
        self.capture = capture

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self.capture.readouterr()
        code = run(arguments)
        said = self.capture.readouterr()
        return code, said.out, said.err


def traces(account: Account, *sets: list[bytes], below: str = "") -> tuple[int, ...]:
    """How many versions, of both buckets, hold one of the pictures of each set; archives as they unpack."""
    s3, platform = account.deployment.s3, account.deployment.platform

    def held(version: Version) -> list[bool]:
        answer = s3.get_object(Bucket=version.bucket, Key=version.key, VersionId=version.id)
        data = answer["Body"].read()
        data = gzip.decompress(data) if version.key.endswith(".gz") else data
        return [any(picture in data for picture in pictures) for pictures in sets]

    everything = [
        version
        for bucket in (platform.inputs_bucket, platform.outputs_bucket)
        for versions in by_key(s3, bucket, below)
        for version in versions
        if not version.marker
    ]
    with ThreadPoolExecutor(4) as pool:
        return tuple(map(sum, zip(*pool.map(held, everything), strict=True)))


def test_nothing_of_a_forgotten_person_stays_and_the_next_job_trains_without(
    account: Account, facetrain: Command, cloud: Cloud, tmp_path: Path
) -> None:
    write_faces(tmp_path / "loose", identities=5, name="leaver", seed=1)
    pack(tmp_path / "loose" / "images", tmp_path / "packed" / "images")
    account.upload("forget", tmp_path / "loose")
    account.upload("forget", tmp_path / "loose")  # every picture in two versions
    account.upload("forget-packed", tmp_path / "packed")
    theirs = [path.read_bytes() for path in (tmp_path / "loose" / "images" / "leaver1").iterdir()]
    others = [path.read_bytes() for path in (tmp_path / "loose" / "images" / "leaver2").iterdir()]
    first = account.drop("forget", manifest(hyperparameters=LEARN))
    ended = account.wait_for_end(first)
    assert ended["TrainingJobStatus"] == "Completed", ended.get("FailureReason")
    assert traces(account, theirs, below="inputs/forget") == (2 * len(theirs) + 1,)
    assert "leaver1" in classes(account, "forget", first)

    code, out, err = facetrain("forget", "leaver1", "--yes", "--json")
    assert code == 0, err
    done = json.loads(out)
    assert done["complete"]
    assert set(done["datasets"]) == {"forget", "forget-packed"}
    mine, all_others = traces(account, theirs, others)
    assert mine == 0
    assert all_others >= 2 * len(others) + 1
    assert on_disk(cloud, theirs) == []
    record = account.deployment.s3.get_object(
        Bucket=account.deployment.platform.inputs_bucket, Key=done["record"]
    )["Body"].read()
    assert b"leaver1" not in record
    assert json.loads(record)["jobs"][0]["name"] == first
    assert "leaver1" not in classes(account, "forget", first)

    account.upload("forget", tmp_path / "loose")  # somebody's copy of the folder comes back
    second = account.drop("forget", manifest(hyperparameters=LEARN))
    ended = account.wait_for_end(second)
    assert ended["TrainingJobStatus"] == "Completed", ended.get("FailureReason")
    found = classes(account, "forget", second)
    assert "leaver1" not in found
    assert "leaver2" in found


LEARN = {
    "network": "mbf",
    "epochs": 1,
    "max_steps": 1,
    "batch_size": 4,
    "holdout_fraction": 0,
    "workers": 0,
    "thumbnails": False,
}


def classes(account: Account, dataset: str, job: str) -> str:
    """The model's classes.csv."""
    uri = account.deployment.platform.outputs_bucket, f"outputs/{dataset}/{job}/output/model.tar.gz"
    body = account.deployment.s3.get_object(Bucket=uri[0], Key=uri[1])["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        file = archive.extractfile("classes.csv")
        assert file is not None
        return file.read().decode()


def on_disk(cloud: Cloud, pictures: list[bytes]) -> list[str]:
    """Files of the cloud on this machine that hold a picture: its buckets' and its jobs' folders."""
    files = [path for path in cloud.home.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(picture in path.read_bytes() for picture in pictures)]


def test_without_the_permission_to_delete_versions_nothing_is_claimed(
    account: Account, facetrain: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_faces(tmp_path, identities=3, name="client", seed=2)
    account.upload("clerks", tmp_path)
    theirs = [path.read_bytes() for path in (tmp_path / "images" / "client2").iterdir()]
    before = traces(account, theirs, below="inputs/clerks")
    iam = account.deployment.connection.client("iam")
    iam.create_user(UserName="clerk")
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:DeleteObjectVersion", "Resource": "*"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="clerk", PolicyName="all-but-one", PolicyDocument=policy)
    key = iam.create_access_key(UserName="clerk")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])

    code, out, err = facetrain("forget", "client2", "--dataset", "clerks", "--yes", "--json")

    assert code == 1
    done = json.loads(out)
    assert not done["complete"]
    assert done["inputs"]["versions"] == 0
    assert "4 objects of the inputs bucket still hold the person" in err
    assert "AccessDenied" in err
    assert "s3:DeleteObjectVersion" in err
    assert traces(account, theirs, below="inputs/clerks") == before == (4,)
    listed = account.deployment.s3.get_object(
        Bucket=account.deployment.platform.inputs_bucket, Key=contract.FORGOTTEN_KEY
    )["Body"].read()
    assert Forgotten.parse(listed).holds("clerks", "client2")
    assert not Forgotten.parse(listed).holds("forget", "client2")
