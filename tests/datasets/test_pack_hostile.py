"""`dataset pack` and `unpack` of what is damaged or hostile: one message, and nothing half-written."""

import csv
import errno
import json
import os
import pickle
import resource
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from facetrain.cli import entry
from facetrain.datasets.pack import pack
from facetrain.datasets.unpack import unpack
from facetrain.errors import OperationError
from tests.datasets.test_pack_roundtrip import content, tree, write_folders
from tests.formats.test_records import record
from tests.formats.test_records import write as write_rec
from tests.formats.test_shards import png, shard


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    code = entry.run(["dataset", *map(str, arguments)])
    return code, capsys.readouterr().err


def one_shard(folder: Path, identity: str, key: str = "1") -> Path:
    shard(
        folder / "000000.tar",
        {f"{key}.png": png(0, 0), f"{key}.json": json.dumps({"identity": identity}).encode()},
    )
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "photos", ["anna", "ben"], 4)


@pytest.fixture
def packed(tmp_path: Path, photos: Path) -> Path:
    pack(photos, tmp_path / "packed", shard_bytes=100_000)
    return tmp_path / "packed"


# -- what does not fit together ------------------------------------------------------------------------------


def three_records(folder: Path) -> Path:
    folder.mkdir()
    faces = {key: record(png(key % 2, key), (float(key % 2),)) for key in (1, 2, 3)}
    write_rec(folder, {0: record(b"", (4.0, 6.0)), **faces})
    return folder


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_a_truncated_rec_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    path = three_records(tmp_path / "rec") / "train.rec"
    path.write_bytes(path.read_bytes()[:-100])
    code, message = said(capsys, command, path, tmp_path / "out")
    assert code == 2
    assert message.startswith("SRC: train.rec is cut short: record 3 ends at byte ")
    assert message.endswith(": upload it again\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_an_idx_that_disagrees_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    index = three_records(tmp_path / "rec") / "train.idx"
    lines = index.read_text().splitlines()
    index.write_text("\n".join([lines[0], lines[1].replace(lines[1].split()[1], "5"), *lines[2:]]) + "\n")
    code, message = said(capsys, command, tmp_path / "rec", tmp_path / "out")
    assert code == 2
    assert "the file is damaged, or its .idx belongs to another: upload both again" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["pack", "unpack"])
@pytest.mark.parametrize("key", ["../../x", "/x", "a/../../x"])
def test_an_archive_that_climbs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, key: str
) -> None:
    source = one_shard(tmp_path / "deep" / "shards", "anna", key)
    before = tree(tmp_path)
    code, message = said(capsys, command, source, tmp_path / "deep" / "out")
    assert code == 2
    assert message == (
        f'SRC: 000000.tar: its member "{key}.png" climbs out of the folder: do not trust this archive\n'
    )
    assert tree(tmp_path) == before


def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(9, 9))
    source = one_shard(tmp_path / "shards", "anna")
    with tarfile.open(source / "000000.tar", "a") as archive:
        link = tarfile.TarInfo("2.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.png")
        archive.addfile(link)
    unpack(source, tmp_path / "out")
    assert tree(tmp_path / "out") == {"anna/1.png": png(0, 0)}


def test_a_pickle_that_would_run_something_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (tmp_path / "lfw.bin").write_bytes(pickle.dumps(([Hostile()], [True])))
    code, message = said(capsys, "unpack", tmp_path / "lfw.bin", tmp_path / "out")
    assert code == 2
    assert message.startswith("SRC: lfw.bin ")
    assert len(message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "lfw.bin"]


def test_a_verification_set_is_not_packed_and_the_other_command_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lfw.bin").write_bytes(b"")
    code, message = said(capsys, "pack", tmp_path / "lfw.bin", tmp_path / "out")
    assert code == 2
    assert "lfw.bin is a verification set, which says of no image whose it is" in message
    assert "(facetrain dataset unpack makes pictures of it)" in message


# -- what is left out ----------------------------------------------------------------------------------------


def test_what_is_no_image_is_left_out_and_listed(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(photos)
    (tmp_path / "secret.png").write_bytes(png(9, 9))
    (photos / "anna" / "out.png").symlink_to(tmp_path / "secret.png")
    (photos / "anna" / "within.png").symlink_to(photos / "ben" / "0.png")
    (photos / "ben" / "empty.jpg").touch()
    (photos / "ben" / "page.jpg").write_text("<html>not found</html>")
    (photos / "gone").symlink_to(tmp_path)
    code, message = said(capsys, "pack", photos, tmp_path / "packed")
    with (tmp_path / "packed" / "left_out.csv").open(newline="") as file:
        listed = dict(list(csv.reader(file))[1:])
    assert code == 0
    assert listed == {
        "anna/out.png": f"is a link out of the folder, to {tmp_path / 'secret.png'}",
        "ben/empty.jpg": "is empty",
        "ben/page.jpg": "begins as no image does",
    }
    assert all(f"left out: {file} {reason}\n" in message for file, reason in listed.items())
    assert "note: folder_links_not_followed=1" in message
    assert content(tmp_path / "packed") == before + type(before)([("anna", png(1, 0))])


def test_a_folder_with_no_image_that_can_be_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos" / "anna").mkdir(parents=True)
    (tmp_path / "photos" / "anna" / "1.jpg").touch()
    assert said(capsys, "pack", tmp_path / "photos", tmp_path / "out") == (
        2,
        "SRC: none of its 1 images can be packed: anna/1.jpg is empty, for one\n",
    )
    assert not (tmp_path / "out").exists()


# -- names that would climb, collide or not fit --------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "folder"),
    [
        ("../x", "_.._x"),
        ("/etc", "_etc"),
        ("a/b", "a_b"),
        ("a\\b", "a_b"),
        ("..", "_.."),
        (".", "_."),
        (".hidden", "_.hidden"),
        ("nul\0l", "nul_l"),
        ("two\nlines", "two_lines"),
        ("pairs.csv", "_pairs.csv"),
    ],
)
def test_an_identity_that_cannot_name_a_folder_gets_another(
    tmp_path: Path, identity: str, folder: str
) -> None:
    source = one_shard(tmp_path / "shards", identity)
    done = unpack(source, tmp_path / "out")
    assert done.renamed == {identity: folder}
    assert (tmp_path / "out" / folder / "1.png").read_bytes() == png(0, 0)
    with (tmp_path / "out" / "renamed.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["identity", "folder"], [identity, folder]]
    assert {path.name for path in tmp_path.iterdir()} == {"shards", "out"}


def test_names_that_are_too_long_stay_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = {}
    for number in range(2):
        members[f"{number}.png"] = png(number, 0)
        members[f"{number}.json"] = json.dumps({"identity": "ü" * 400 + str(number)}).encode()
    shard(tmp_path / "shards" / "000000.tar", members)
    code, message = said(capsys, "unpack", tmp_path / "shards", tmp_path / "out")
    folders = [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert code == 0
    assert len(folders) == 2
    assert all(
        len(folder.encode()) < 255 and f"its images are in {folder}\n" in message for folder in folders
    )


def test_identities_whose_folders_would_be_one_are_kept_apart(tmp_path: Path) -> None:
    members = {}
    for number, identity in enumerate(("a/b", "a_b", "a\\b")):
        members[f"{number}.png"] = png(number, 0)
        members[f"{number}.json"] = json.dumps({"identity": identity}).encode()
    shard(tmp_path / "shards" / "000000.tar", members)
    done = unpack(tmp_path / "shards", tmp_path / "out")
    assert done.renamed == {"a/b": "a_b", "a_b": "a_b-2", "a\\b": "a_b-3"}
    assert tree(tmp_path / "out").items() >= {
        ("a_b/0.png", png(0, 0)),
        ("a_b-2/1.png", png(1, 0)),
        ("a_b-3/2.png", png(2, 0)),
    }


# -- checksums -----------------------------------------------------------------------------------------------


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)


def flip_a_bit_of_names(path: Path) -> None:
    names = path.with_name("identities.csv")
    names.write_bytes(names.read_bytes().replace(b"ben", b"bem"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_bit, "SRC: 000001.tar has another SHA-256 than index.json says"),
        (lambda path: path.write_bytes(path.read_bytes()[:-512]), "SRC: 000001.tar has "),
        (Path.unlink, "SRC: 000001.tar is missing"),
        (lambda path: path.rename(path.with_name("x.tar")), "SRC: 000001.tar is missing"),
        (
            lambda path: path.with_name("x.tar").write_bytes(path.read_bytes()),
            "SRC: x.tar is not in index.json",
        ),
        (flip_a_bit_of_names, "SRC: identities.csv has another SHA-256"),
        (
            lambda path: path.with_name("index.json").write_text('{"format": "facetrain-sh'),
            "SRC: index.json is damaged",
        ),
        (
            lambda path: path.with_name("index.json").write_text(
                '{"format": "facetrain-shards", "version": 1}'
            ),
            "SRC: index.json is damaged",
        ),
        (
            lambda path: path.with_name("index.json").write_text(
                '{"format": "facetrain-shards", "version": 9}'
            ),
            "SRC: index.json is of version 9, and 1 is read",
        ),
    ],
)
def test_what_is_not_as_the_index_says_is_not_unpacked(
    tmp_path: Path,
    packed: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    message: str,
) -> None:
    damage(packed / "000001.tar")
    code, found = said(capsys, "unpack", packed, tmp_path / "out")
    assert (code, found[: len(message)]) == (2, message)
    assert len(found.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_checksums_count_where_the_shards_lie_in_a_datasets_images(
    tmp_path: Path, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "staff").mkdir()
    packed.rename(tmp_path / "staff" / "images")
    assert unpack(tmp_path / "staff", tmp_path / "out").verified
    flip_a_bit(tmp_path / "staff" / "images" / "000001.tar")
    code, message = said(capsys, "unpack", tmp_path / "staff", tmp_path / "again")
    assert (code, message[:47]) == (2, "SRC: 000001.tar has another SHA-256 than index.")


def test_the_index_of_another_tool_is_no_business_of_ours(tmp_path: Path, packed: Path) -> None:
    before = content(packed)
    (packed / "index.json").write_text('{"__kind__": "wids-shard-index-v1"}')
    assert not unpack(packed, tmp_path / "out").verified
    assert content(tmp_path / "out") == before


# -- where it may be written ---------------------------------------------------------------------------------


def test_a_destination_that_holds_something_is_left_as_it_is(
    tmp_path: Path, photos: Path, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(tmp_path)
    assert said(capsys, "pack", photos, packed) == (2, f"DEST: {packed} is not empty: name a new folder\n")
    assert said(capsys, "unpack", packed, photos) == (2, f"DEST: {photos} is not empty: name a new folder\n")
    file = photos / "anna" / "0.png"
    assert said(capsys, "unpack", packed, file) == (2, f"DEST: {file} is no folder: name a new one\n")
    within = photos / "packed"
    assert said(capsys, "pack", photos, within) == (
        2,
        f"DEST: {within} lies within {photos}: name a folder beside it\n",
    )
    assert tree(tmp_path) == before


def test_an_empty_destination_is_taken(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "new").mkdir()
    pack(photos, tmp_path / "new")
    assert content(tmp_path / "new") == content(photos)


@contextmanager
def files_no_larger_than(count: int) -> Iterator[None]:
    """A write beyond fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, photos: Path, packed: Path) -> None:
    before = tree(tmp_path)
    for run in (lambda: pack(photos, tmp_path / "out"), lambda: unpack(packed, tmp_path / "out")):
        with (
            files_no_larger_than(20_000),
            pytest.raises(
                OperationError, match=r"out cannot be written \(file too large\); nothing of it was"
            ),
        ):
            run()
    assert tree(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "packed"}


def test_a_full_disk_is_said_in_one_line(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("facetrain.datasets.shard_writer.ShardWriter.add", full)
    assert said(capsys, "pack", photos, tmp_path / "out") == (
        1,
        f"facetrain: {tmp_path / 'out'} cannot be written (no space left on device); nothing of it was left: "
        f"make room, or name another\n",
    )
    assert list(tmp_path.iterdir()) == [photos]


@pytest.mark.parametrize("after", [1, 5, 8])
def test_an_interruption_leaves_nothing_and_a_second_run_is_as_if_it_had_not_been(
    tmp_path: Path, photos: Path, packed: Path, after: int
) -> None:
    done = 0

    def interrupt(count: int) -> None:
        nonlocal done
        done += count
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(photos, tmp_path / "out", shard_bytes=100_000, packed=interrupt)
    done = 0
    with pytest.raises(KeyboardInterrupt):
        unpack(packed, tmp_path / "out", unpacked=interrupt)
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "packed"}
    pack(photos, tmp_path / "out", shard_bytes=100_000)
    assert tree(tmp_path / "out") == tree(packed)


def test_folders_of_images_are_not_unpacked(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "unpack", photos, tmp_path / "out") == (
        2,
        f"SRC: {photos} holds images already: shards, .rec or .bin are unpacked\n",
    )
