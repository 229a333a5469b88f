"""`dataset push` cut off, throttled and refused: what arrived is not sent again, and no job starts early."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import botocore.endpoint
import pytest

from facetrain import patience, storage, uploads
from tests.cli.conftest import PLATFORM, Facetrain
from tests.cli.fake_aws import FakeAws, ServiceError
from tests.cli.fake_multipart import Upload

PART = 1000  # bytes: S3 itself takes no parts so small
SHARDS = "images/000000.tar", "images/000001.tar"


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files go in parts of a kilobyte, and nobody waits before a further try."""
    monkeypatch.setattr(storage, "PART_BYTES", PART)
    monkeypatch.setattr(patience, "WAITS", (0,))
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Two shards, as far as can be told by their ends, of three parts and of two; and a small table."""
    folder = tmp_path / "packed"
    folder.mkdir()
    for number, size in ((0, 2048), (1, 1024)):
        text = "".join(f"{number}{place:06}\n" for place in range(size // 8))
        (folder / f"00000{number}.tar").write_bytes(text.encode() + bytes(512))
    (folder / "identities.csv").write_text("class,identity\n")
    return folder


def held(aws: FakeAws, key: str) -> bytes:
    return aws.objects[f"{PLATFORM.inputs_bucket}/inputs/staff/{key}"].data


def test_large_files_arrive_in_parts_with_their_checksums(
    facetrain: Facetrain, aws: FakeAws, packed: Path
) -> None:
    ran = facetrain("dataset", "push", packed, "staff")
    assert ran.code == 0, ran.err
    assert sorted(aws.multipart.sent) == [
        *(("upload-1", number) for number in (1, 2, 3)),
        *(("upload-2", number) for number in (1, 2)),
    ]
    assert [held(aws, key) for key in SHARDS] == [(packed / Path(key).name).read_bytes() for key in SHARDS]
    assert "3 files uploaded (4.1 kB)" in ran.err
    assert aws.puts()[-1].endswith("/manifest.json")
    again = facetrain("dataset", "push", packed, "staff")
    assert "0 files uploaded (0 B), 3 unchanged" in again.err


def test_an_upload_that_was_cut_off_goes_on_with_the_missing_parts(
    facetrain: Facetrain, aws: FakeAws, packed: Path
) -> None:
    data = (packed / "000000.tar").read_bytes()
    aws.multipart.begin("", f"inputs/staff/{SHARDS[0]}")
    for number in (1, 3):
        aws.multipart.put("upload-1", number, data[(number - 1) * PART : number * PART])
    aws.multipart.sent.clear()
    ran = facetrain("dataset", "push", packed, "staff")
    assert ran.code == 0, ran.err
    assert [number for name, number in aws.multipart.sent if name == "upload-1"] == [2]
    assert held(aws, SHARDS[0]) == data
    assert "(2.6 kB, 1.6 kB of them sent before)" in ran.err


def test_a_part_that_is_not_the_same_any_more_is_sent_again(
    facetrain: Facetrain, aws: FakeAws, packed: Path
) -> None:
    data = (packed / "000000.tar").read_bytes()
    aws.multipart.begin("", f"inputs/staff/{SHARDS[0]}")
    aws.multipart.put("upload-1", 1, data[:PART])
    aws.multipart.put("upload-1", 2, b"older" * 200)
    facetrain("dataset", "push", packed, "staff")
    assert held(aws, SHARDS[0]) == data


def test_what_is_left_of_other_uploads_under_a_key_is_cleared_away(
    facetrain: Facetrain, aws: FakeAws, packed: Path
) -> None:
    for key in (SHARDS[0], SHARDS[0], "images/other.tar"):
        aws.multipart.begin("", f"inputs/staff/{key}")
    aws.multipart.put("upload-1", 1, b"older" * 200)
    facetrain("dataset", "push", packed, "staff")
    assert aws.multipart.uploads == {"upload-3": Upload("inputs/staff/images/other.tar")}


ONE_BY_ONE = f"""
import sys
from facetrain import storage, uploads
from facetrain.cli.entry import run
storage.PART_BYTES, uploads.AT_ONCE = {PART}, 1
sys.exit(run(sys.argv[1:]))
"""


def test_a_push_that_is_killed_is_taken_up_where_it_was(
    facetrain: Facetrain, aws: FakeAws, packed: Path
) -> None:
    """SIGKILL, while the last part of the last shard is sent."""
    command = [sys.executable, "-c", ONE_BY_ONE, "dataset", "push", str(packed), "staff"]
    with subprocess.Popen(command, env=os.environ | aws.environment()) as process:

        def kill(request: str) -> ServiceError | None:
            if len(aws.multipart.sent) < 4 or not request.startswith("PART"):
                return None
            process.kill()
            return ServiceError("RequestTimeout")

        aws.trouble = kill
    assert process.returncode == -signal.SIGKILL
    assert aws.puts() == []
    assert list(aws.multipart.uploads) == ["upload-2"]
    aws.trouble = lambda _: None
    ran = facetrain("dataset", "push", packed, "staff")
    assert aws.multipart.sent[4:] == [("upload-2", 2)]
    assert [held(aws, key) for key in SHARDS] == [(packed / Path(key).name).read_bytes() for key in SHARDS]
    assert "2 files uploaded (551 B, 1.0 kB of them sent before), 1 unchanged" in ran.err


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_keeps_the_parts_that_arrived(
    facetrain: Facetrain, aws: FakeAws, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "AT_ONCE", 1)

    def interrupt(request: str) -> None:
        if len(aws.multipart.sent) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    aws.trouble = interrupt
    ran = facetrain("dataset", "push", packed, "staff")
    assert (ran.code, "Traceback" in ran.err) == (130, False)
    assert not [place for place in aws.puts() if place.endswith("manifest.json")]
    aws.trouble = lambda _: None
    assert facetrain("dataset", "push", packed, "staff").code == 0
    assert len(aws.multipart.sent) == 5  # each part once
    assert [held(aws, key) for key in SHARDS] == [(packed / Path(key).name).read_bytes() for key in SHARDS]


def test_a_slower_pace_is_kept_and_said_once(facetrain: Facetrain, aws: FakeAws, packed: Path) -> None:
    asked: dict[str, int] = {}

    def slow(request: str) -> ServiceError | None:
        asked[request] = asked.get(request, 0) + 1
        busy = asked[request] <= 7  # more often than boto3 alone would try
        return ServiceError("SlowDown", "Please reduce your request rate.", 503) if busy else None

    aws.trouble = slow
    ran = facetrain("dataset", "push", packed, "staff")
    assert ran.code == 0, ran.err
    assert ran.err.count("note: S3 asks for a slower pace (SlowDown): trying again within") == 1


def test_throttling_without_an_end_is_given_up_and_says_how_to_go_on(
    facetrain: Facetrain, aws: FakeAws, packed: Path
) -> None:
    aws.trouble = lambda request: ServiceError("SlowDown", "Please reduce your request rate.", 503)
    ran = facetrain("dataset", "push", packed, "staff")
    assert ran.code == 1
    assert ran.err.splitlines()[-1].endswith(
        ": SlowDown: Please reduce your request rate; "
        "no job was started, and the same command again sends only what is missing"
    )
    assert not aws.objects


def test_s3_compares_each_part_with_its_checksum(facetrain: Facetrain, aws: FakeAws, packed: Path) -> None:
    aws.trouble = lambda request: ServiceError("BadDigest", "The checksum does not match")
    ran = facetrain("dataset", "push", packed, "staff")
    assert ran.code == 1
    assert "BadDigest: The checksum does not match: a file changed while it was read" in ran.err
    assert "no job was started" in ran.err


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b""), grow])
def test_a_file_that_changes_before_its_turn_comes_is_named(
    facetrain: Facetrain,
    aws: FakeAws,
    packed: Path,
    change: Callable[[Path], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uploads, "AT_ONCE", 1)
    last, changes = packed / "000001.tar", [change]

    def spoil(request: str) -> None:
        if request.endswith(SHARDS[0]) and changes:
            changes.pop()(last)

    aws.trouble = spoil
    ran = facetrain("dataset", "push", packed, "staff")
    assert ran.code == 1
    said = "changed meanwhile: run the same command again" if last.exists() else "No such file or directory"
    assert ran.err.endswith(f"facetrain: {last}: {said}\n")
    assert not [place for place in aws.puts() if place.endswith("manifest.json")]


def test_a_network_that_is_away_for_a_moment_is_waited_for_and_said(
    facetrain: Facetrain, aws: FakeAws, packed: Path
) -> None:
    asked: list[str] = []

    def away(request: str) -> None:
        if request.endswith("identities.csv") and len(asked) < 7:  # more often than boto3 alone would try
            asked.append(request)
            raise ConnectionResetError  # no answer at all

    aws.trouble = away
    ran = facetrain("dataset", "push", packed, "staff")
    assert ran.code == 0, ran.err
    assert ran.err.count("note: S3 cannot be reached: trying again within") == 1
