"""`dataset push` of shards, .rec files and odd folders: what can be told of them is told before sending."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from facetrain.datasets.pack import pack
from tests.cli.conftest import Facetrain
from tests.cli.fake_aws import FakeAws
from tests.cli.test_push import keys, manifest_in
from tests.datasets.faces import encoded, put
from tests.formats.by_mxnet import FACES


@pytest.mark.parametrize("form", ["tar", "rec"])
def test_packed_images_are_read_from_s3_as_they_are_trained_on(
    facetrain: Facetrain, aws: FakeAws, tmp_path: Path, form: str
) -> None:
    if form == "tar":
        (tmp_path / "000000.tar").write_bytes(bytes(1024))
    else:
        FACES.put(tmp_path)
    assert facetrain("dataset", "push", tmp_path, "staff").code == 0
    assert manifest_in(aws)["input_mode"] == "FastFile"
    assert facetrain("dataset", "push", tmp_path, "staff", "--input-mode", "File").code == 0
    assert manifest_in(aws)["input_mode"] == "File"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    for number in range(4):
        put(tmp_path / "faces" / f"id{number % 2}" / f"{number}.png", encoded(number))
    pack(tmp_path / "faces", tmp_path / "packed")
    return tmp_path / "packed"


def test_packed_images_are_counted_by_their_index(facetrain: Facetrain, packed: Path) -> None:
    ran = facetrain("dataset", "push", packed, "staff", "--dry-run", "--set", "epochs=3")
    first, second = ran.err.splitlines()
    assert first.startswith("staff: 4 images of 2 identities, 3 files, ")
    assert second.startswith("trains: arcface epochs=3 on ml.g6.xlarge (spot, ")
    assert second.endswith(", images read from S3")


def test_shards_that_are_not_those_of_their_index_are_refused(
    facetrain: Facetrain, aws: FakeAws, packed: Path
) -> None:
    """A copy that was cut short, say: S3 would hold it, and the job would fail."""
    shard = packed / "000000.tar"
    size = shard.stat().st_size
    os.truncate(shard, 700)
    (packed / "identities.csv").unlink()
    ran = facetrain("dataset", "push", packed, "staff")
    assert (ran.code, aws.puts()) == (2, [])
    said = (
        f"images/000000.tar: has 700 bytes where index.json says {size:,}: copy or pack the dataset once more"
    )
    assert said in ran.err
    assert "images/identities.csv: is missing where index.json says" in ran.err


def test_names_with_blanks_and_of_any_language_arrive_as_they_are(
    facetrain: Facetrain, aws: FakeAws, tmp_path: Path
) -> None:
    names = {"anna b. berg/1+2%20.png", "Ольга/1..2.png", "李 明/a&b=c.png", "zoë's/~x#?.png"}
    for name in names:
        put(tmp_path / name, name.encode())
    assert facetrain("dataset", "push", tmp_path, "staff").code == 0
    assert {key.removeprefix("images/") for key in keys(aws)[:-1]} == names


def test_ten_thousand_files_of_one_identity_are_counted_before_they_are_sent(
    facetrain: Facetrain, tmp_path: Path
) -> None:
    first = put(tmp_path / "crowd" / "0.jpg", b"jpg")
    for number in range(1, 10_000):
        (tmp_path / "crowd" / f"{number}.jpg").hardlink_to(first)
    put(tmp_path / "anna" / "1.jpg", b"jpg")
    ran = facetrain("dataset", "push", tmp_path, "staff", "--dry-run", "--input-mode", "FastFile")
    assert ran.code == 0
    assert (
        "note: 10,001 single files are as many requests to S3, which takes long: pack them first" in ran.err
    )
    assert "staff: 2 identities, 10,001 files, 30.0 kB" in ran.err
    assert "note: 1 identity of 2 with one picture" in ran.err


def test_archives_are_not_sent_to_fail_there(facetrain: Facetrain, aws: FakeAws, tmp_path: Path) -> None:
    put(tmp_path / "photos.zip", b"PK")
    ran = facetrain("dataset", "push", tmp_path, "staff")
    assert (ran.code, aws.puts()) == (2, [])
    assert ran.err.startswith("channels.images: no images among 1 file (.zip files are not read: unpack")


def test_a_push_needs_no_package_beside_those_of_the_command() -> None:
    """numpy and Pillow come with extras."""
    code = "import sys; sys.modules['numpy'] = sys.modules['PIL'] = None; import facetrain.dataset"
    subprocess.run([sys.executable, "-c", code], check=True)
