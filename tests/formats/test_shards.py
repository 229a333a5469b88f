"""Shards: tar files whose images are read in place, and what is said of those that cannot be."""

import errno
import io
import json
import os
import resource
import shutil
import tarfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from tests.arcface.examples import picture
from training.arcface.channels import fast_file
from training.arcface.data.store import Decoding, StreamedImages, open_dataset
from training.arcface.distributed import World
from training.formats import places, shards
from training.formats.errors import DataError
from training.formats.listing import Listing, find
from training.formats.places import SpanReader, Spans


def png(who: int, number: int) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(picture(who, number)).save(memory, "PNG", compress_level=1)
    return memory.getvalue()


def shard(path: Path, members: Mapping[str, bytes], form: int = tarfile.USTAR_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return path


def two_shards(images: Path) -> Path:
    """anna and ben in the first, ben again and carl in the second; the keys begin anew."""
    shard(
        images / "0.tar",
        {"a.png": png(0, 0), "a.cls": b"anna\n", "b.png": png(1, 0), "b.json": identity("ben")},
    )
    shard(images / "1.tar", {"a.cls": b"ben", "a.png": png(1, 1), "b.png": png(2, 0), "b.cls": b"carl"})
    return images


def identity(name: str | int) -> bytes:
    return json.dumps({"identity": name, "year": 2026}).encode()


def test_images_of_shards_are_found_with_their_identities(tmp_path: Path) -> None:
    found = find(two_shards(tmp_path), None)
    assert found.files == ("0.tar/a.png", "0.tar/b.png", "1.tar/a.png", "1.tar/b.png")
    assert found.identities == ("anna", "ben", "carl")
    assert found.labels.tolist() == [0, 1, 1, 2]
    assert found.notes == ("shards=2",)


@pytest.mark.parametrize("cache_bytes", [2**30, 1])
def test_images_are_read_in_place_whether_decoded_before_or_when_asked(
    tmp_path: Path, cache_bytes: int
) -> None:
    listing = find(two_shards(tmp_path / "images"), None)
    dataset, _ = open_dataset(listing, World(), Decoding(tmp_path, cache_bytes=cache_bytes))
    assert isinstance(dataset.images, StreamedImages) == (cache_bytes == 1)
    pixels, _ = dataset.images.take(np.array([3, 0, 2]))
    assert (pixels == np.stack([picture(2, 0), picture(0, 0), picture(1, 1)])).all()


def test_shards_of_a_fast_file_channel_are_copied_where_their_pixels_do_not_fit(tmp_path: Path) -> None:
    listing = find(two_shards(tmp_path / "images"), None)
    (tmp_path / "scratch").mkdir()
    decoding = Decoding(tmp_path / "scratch", cache_bytes=1, fast_file=frozenset(["images"]))
    dataset, _ = open_dataset(listing, World(), decoding, "images")
    shutil.rmtree(tmp_path / "images")
    assert (dataset.images.take(np.array([2]))[0][0] == picture(1, 1)).all()


def test_the_services_file_says_which_channels_are_streamed(tmp_path: Path) -> None:
    config = tmp_path / "inputdataconfig.json"
    assert fast_file(config) == frozenset()
    modes = {"images": {"TrainingInputMode": "FastFile"}, "labels": {"TrainingInputMode": "File"}, "cfg": {}}
    config.write_text(json.dumps(modes))
    assert fast_file(config) == {"images"}


def test_held_out_images_of_shards_keep_their_place(tmp_path: Path) -> None:
    listing = find(two_shards(tmp_path / "images"), None).keep(np.array([False, False, True, True]))
    dataset, _ = open_dataset(listing, World(), Decoding(tmp_path, cache_bytes=1))
    assert listing.identities == ("ben", "carl")
    assert (dataset.images.take(np.array([1]))[0][0] == picture(2, 0)).all()


def test_thousands_of_shards_may_be_open_where_the_system_allows_it(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, before[1]))
        SpanReader(tmp_path, Spans.of([f"{number}.tar" for number in range(600)], []))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 600
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_each_shard_is_read_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", {"z.png": b"1", "z.cls": b"x", "a.png": b"2", "a.cls": b"y"})
    shard(tmp_path / "1.tar", {"b.png": b"3", "b.cls": b"x"})
    listing = find(tmp_path, None)
    reader = listing.reader()
    assert [reader.read(index) for index in map(int, reader.in_reading_order())] == [b"1", b"2", b"3"]


def test_the_headers_of_several_shards_are_read_at_once_and_come_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamed from S3, each read waits for an answer: one shard after another would take hours."""
    names = [f"{number:02}.tar" for number in range(2 * shards.AT_ONCE)]
    for name in names:
        shard(tmp_path / name, {"a.png": b"1", "a.cls": name.encode()})
    meeting, read = threading.Barrier(shards.AT_ONCE, timeout=10), shards.members

    def together(file: BinaryIO, size: int) -> Iterator[shards.Member]:
        meeting.wait()
        return read(file, size)

    monkeypatch.setattr(shards, "members", together)
    found = find(tmp_path, None)
    assert found.files == tuple(f"{name}/a.png" for name in names)
    assert [found.identities[label] for label in found.labels] == names


def test_numbers_get_their_names_from_the_table_beside_the_shards(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", {"1.png": b"", "1.cls": b"7", "2.png": b"", "2.json": identity(900)})
    assert find(tmp_path, None).identities == ("7", "900")
    (tmp_path / "identities.csv").write_text(
        "\ufeffclass,identity\r\n7,anna\r\n900,Zoë\r\n", encoding="utf-8"
    )
    assert find(tmp_path, None).identities == ("Zoë", "anna")


def test_a_labels_table_counts_more_than_what_the_shards_say(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", {"x/1.png": b"", "x/1.cls": b"old", "x/2.png": b"", "x/3.png": b""})
    (tmp_path / "labels.csv").write_text("file,identity\n0.tar/x/1.png,anna\nx/2,ben\n")
    found = find(tmp_path, None)
    assert found.identities == ("anna", "ben")
    assert found.notes == ("shards=1", "images_without_label=1")


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_and_foreign_names_are_read_in_every_dialect(tmp_path: Path, form: int) -> None:
    key = "./" + "x" * 90 + "/" + "ä" * 20
    shard(tmp_path / "0.tar", {f"{key}.JPG": b"", f"{key}.cls": b"anna", "b.cls": b"b", "b.png": b""}, form)
    assert find(tmp_path, None).files == ("0.tar/b.png", f"0.tar/{key[2:]}.JPG")


def test_folders_links_and_what_macos_leaves_are_passed_over(tmp_path: Path) -> None:
    path = shard(tmp_path / "0.tar", {"a.png": b"", "a.cls": b"anna", "._a.png": b"", "a.seg.png": b""})
    with tarfile.open(path, "a") as archive:
        for name, kind in (("folder.png", tarfile.DIRTYPE), ("link.png", tarfile.SYMTYPE)):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            archive.addfile(header)
    assert find(tmp_path, None).files == ("0.tar/a.png",)


# -- Refused -----------------------------------------------------------------------------------------------

GOOD = {"a.png": b"x" * 700, "a.cls": b"anna", "b.png": b"y", "b.cls": b"ben"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.png": b""}, r'0.tar: "a" has an image, but neither a.cls nor a.json with an "identity"'),
        ({"a.png": b"", "a.json": b"{}"}, r'0.tar: "a" has an image, but neither'),
        ({"a.png": b"", "a.jpg": b"", "a.cls": b"x"}, r'0.tar: two images have the key "a"'),
        ({"a.png": b"", "a.cls": b"x", "a.json": identity("y")}, r'0.tar: "a" has two identities'),
        ({"a.png": b"", "a.json": b"{"}, r"0.tar: a.json is no UTF-8 text or no JSON"),
        ({"a.png": b"", "a.cls": b"\xff"}, r"0.tar: a.cls is no UTF-8 text"),
        ({"a.png": b"", "a.cls": b"x" * 10**5}, r"0.tar: a.cls is 100,000 bytes, which is no identity"),
        ({"a.cls": b"x"}, r"no images in 1 shards, such as 0.tar"),
    ],
)
def test_a_shard_whose_labels_cannot_be_told_is_refused_by_name(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    shard(tmp_path / "0.tar", members)
    with pytest.raises(DataError, match=f"channels.images: {message}"):
        find(tmp_path, None)


def broken_shards(good: bytes) -> dict[str, tuple[bytes, str]]:
    return {
        "empty": (b"", "is empty"),
        "no tar": (b"<html>" + b" " * 5000, "is no tar file"),
        "compressed": (b"\x1f\x8b" + bytes(range(256)) * 8, "is compressed, but a shard is a plain tar"),
        "cut in a member": (good[:1000], "is cut short: it has 1,000 bytes of 1,212 or more"),
        "cut between members": (good[:2560], "is cut short: the end of its archive is missing"),
        "a flipped bit": (good[:1540] + bytes([good[1540] ^ 1]) + good[1541:], "is damaged at byte 1,536"),
    }


@pytest.mark.parametrize("how", broken_shards(bytes(2000)))
def test_a_broken_shard_is_refused_by_name(tmp_path: Path, how: str) -> None:
    data, message = broken_shards(shard(tmp_path / "good", GOOD).read_bytes())[how]
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.tar").write_bytes(data)
    with pytest.raises(DataError, match=f"channels.images: 0.tar {message}.*: pack or upload it again"):
        find(tmp_path / "images", None)


def test_a_number_that_the_table_does_not_name_is_refused(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", {"a.png": b"", "a.cls": b"3"})
    (tmp_path / "identities.csv").write_text("class,identity\n1,anna\n")
    with pytest.raises(DataError, match=r'0.tar: a.cls says "3", which identities.csv does not have'):
        find(tmp_path, None)


@pytest.mark.parametrize("text", ["", "number,name\n1,anna\n", "class,identity\n1,\n", "class,identity\n1\n"])
def test_a_table_of_names_that_cannot_be_understood_is_refused(tmp_path: Path, text: str) -> None:
    shard(tmp_path / "0.tar", GOOD)
    (tmp_path / "identities.csv").write_text(text)
    with pytest.raises(DataError, match=r"identities\.csv needs the columns class,identity"):
        find(tmp_path, None)


def test_shards_beside_loose_images_are_refused(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", GOOD)
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "1.jpg").touch()
    with pytest.raises(DataError, match=r"0\.tar and 1 loose images lie side by side"):
        find(tmp_path, None)


@pytest.mark.parametrize("fails", [2, 99])
def test_a_mount_that_fails_is_asked_again_and_no_image_is_left_out_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    """As FastFile mode answers where S3 does not."""
    two_shards(tmp_path)
    reader = find(tmp_path, None).reader()
    monkeypatch.setattr(places, "WAITS", (0, 0, 0))
    read, asked = os.pread, []

    def away(*where: int) -> bytes:
        asked.append(where)
        if len(asked) <= fails:
            raise OSError(errno.EIO, "Input/output error")
        return read(*where)

    monkeypatch.setattr(os, "pread", away)
    if fails == 2:
        assert reader.read(0) == png(0, 0)
    else:
        with pytest.raises(OSError, match="Input/output error") as caught:
            reader.read(0)
        assert caught.value.filename == str(tmp_path / "0.tar")


def test_a_shard_that_shrinks_after_it_was_listed_is_unreadable_there(tmp_path: Path) -> None:
    listing: Listing = find(two_shards(tmp_path / "images"), None)
    path = tmp_path / "images" / "1.tar"
    path.write_bytes(path.read_bytes()[: int(listing.spans.offset[3]) + 10] if listing.spans else b"")
    dataset, report = open_dataset(listing, World(), Decoding(tmp_path, max_unreadable=0.5))
    assert report.unreadable == (("1.tar/b.png", "is cut short: its shard has become shorter"),)
    assert len(dataset.listing) == 3
