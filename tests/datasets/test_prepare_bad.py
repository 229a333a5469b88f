"""Preparing photos: interrupted, resumed, and with input that means no good."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from facetrain.cli.entry import run
from facetrain.datasets.prepare import worker
from facetrain.datasets.prepare.command import Wanted, prepare
from facetrain.errors import InputError, OperationError
from tests.datasets.faces import put
from tests.datasets.photos import POINTS, Album, picture
from training.formats.faces import REASONS


@pytest.fixture
def album(tmp_path: Path) -> Album:
    album = Album(tmp_path)
    for number in range(6):
        album.add(f"anna/{number}.jpg", picture(number))
    return album


def test_a_second_run_does_nothing_again(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    album.prepare()
    monkeypatch.setattr(worker, "read_bytes", pytest.fail)
    again = album.prepare()
    assert (again.kept, again.found_before) == (6, 6)


def test_a_run_that_is_killed_goes_on_where_it_ended(album: Album) -> None:
    calls = []

    def stop_at_third(count: int, of: int) -> None:
        calls.append((count, of))
        if count == 3:
            raise KeyboardInterrupt

    wanted = Wanted(album.source, album.destination, landmarks=album.table, processes=1)
    with pytest.raises(KeyboardInterrupt):
        prepare(wanted, stop_at_third)
    with album.journal.open("a") as journal:
        journal.write('{"file": "anna/3.jp')  # what a kill leaves
    assert calls[-1] == (3, 6)
    again = prepare(wanted)
    assert (again.found_before, again.kept) == (3, 6)
    assert prepare(wanted).found_before == 6


def test_photos_that_are_new_changed_or_gone_are_seen(album: Album) -> None:
    album.prepare()
    album.add("anna/1.jpeg", picture(20))  # comes before 1.jpg and takes its face's name
    (album.source / "anna/2.jpg").unlink()
    (album.source / "anna/3.jpg").write_bytes(b"damaged now")
    (album.destination / "anna/4.jpg").unlink()
    table = album.table.read_text().splitlines()
    table[6] = table[6].replace("77", "78", 1)  # the landmarks of 5.jpg
    album.table.write_text("\n".join(table))
    again = album.prepare()
    assert album.faces() == [f"anna/{name}.jpg" for name in ("0", "1-2", "1", "4", "5")]
    assert (again.kept, again.dropped, again.found_before) == (5, {"unreadable": 1}, 1)
    assert again.removed == 2


def test_other_options_are_noticed(album: Album) -> None:
    album.prepare()
    with pytest.raises(InputError, match=r"was begun with other options \(--format, --min-eyes\)"):
        album.prepare(form="png", min_eyes=30.0)


def test_two_runs_do_not_write_to_one_folder(album: Album) -> None:
    wanted = Wanted(album.source, album.destination, landmarks=album.table, processes=1)

    def begin_another(count: int, of: int) -> None:
        if count == 2:
            album.prepare()

    with pytest.raises(InputError, match="another run is at work"):
        prepare(wanted, begin_another)
    assert album.prepare().kept == 6


def test_what_lies_in_dest_already_is_left_alone(album: Album) -> None:
    album.destination.mkdir()
    (album.destination / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something already: name a new folder"):
        album.prepare()
    assert album.faces() == ["mine.txt"]


def test_a_full_disk_is_one_sentence_and_what_is_done_stays(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def write(path: Path, data: bytes) -> int:
        if len(written) == 2:
            with path.open("wb") as file:
                file.write(data[:9])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        with path.open("wb") as file:
            return file.write(data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write)
        with pytest.raises(OperationError, match="the disk is full; what is done stays"):
            album.prepare()
    assert album.faces() == ["anna/0.jpg", "anna/1.jpg"]
    assert not list((album.destination / "anna").glob(".*"))
    assert album.prepare().found_before == 2


def test_a_gigapixel_bomb_is_dropped_unopened(album: Album) -> None:
    import struct  # noqa: PLC0415
    import zlib  # noqa: PLC0415

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    album.add(
        "ben/bomb.png",
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
    )
    assert album.prepare().dropped == {"unreadable": 1}
    assert "is 12000x12000 pixels, above the limit" in album.journal.read_text()


def test_links_out_of_the_tree_are_not_followed(album: Album, tmp_path: Path) -> None:
    picture().save(tmp_path / "elsewhere.jpg")
    (album.source / "anna/out.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    (tmp_path / "others").mkdir()
    (album.source / "others").symlink_to(tmp_path / "others")
    (album.source / "anna/twin.jpg").symlink_to("1.jpg")
    prepared = album.prepare()
    assert (prepared.photos, prepared.links) == (7, 2)


def test_a_pipe_is_no_photo_and_is_not_waited_for(album: Album) -> None:
    album.add("anna/pipe.jpg").unlink()
    os.mkfifo(album.source / "anna/pipe.jpg")
    os.mkfifo(album.source / "anna/pipe")
    prepared = album.prepare()
    assert (prepared.kept, prepared.dropped, prepared.others) == (6, {"unreadable": 1}, 1)


def test_names_with_blanks_and_of_any_language_are_kept(album: Album) -> None:
    names = ["anna b. berg/one 1.jpg", "zoë's/1+2%20.jpg", "Ольга/a&b.jpg", "李 明/1.jpg"]
    for name in names:
        album.add(name)
    album.prepare()
    assert set(names) <= set(album.faces())


@pytest.mark.parametrize("identity", ["../up", "a/b", ".hidden"])
def test_identities_that_climb_are_refused(album: Album, tmp_path: Path, identity: str) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(f"file,identity\nanna/1.jpg,{identity}\n")
    with pytest.raises(InputError, match="cannot name a folder"):
        album.prepare(labels=labels)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["in", "in/out", "--landmarks", "landmarks.csv"], "DEST: in/out and in lie in each other"),
        (["in", "out"], "--detector: give either --detector"),
        (["gone", "out", "--landmarks", "landmarks.csv"], "SRC: gone is no folder"),
        (["in", "out", "--landmarks", "gone.csv"], "--landmarks: gone.csv does not exist"),
        (["in", "out", "--detector", "landmarks.csv"], "--detector: landmarks.csv is no face detector"),
        (
            ["in", "out", "--landmarks", "landmarks.csv", "--model", "landmarks.csv"],
            "embeds no 112x112 faces",
        ),
        (
            ["empty", "out", "--landmarks", "landmarks.csv"],
            "SRC: empty holds no pictures: give a folder for each person",
        ),
        (
            ["zipped", "out", "--landmarks", "landmarks.csv"],
            "SRC: zipped holds no pictures among 1 file (.zip files are not read: unpack them, ",
        ),
        (
            ["packed", "out", "--landmarks", "landmarks.csv"],
            "SRC: packed holds no pictures, but shards or .rec files: take them apart first",
        ),
    ],
)
def test_what_cannot_be_prepared_is_refused_in_a_sentence(
    album: Album,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(album.source.parent)
    Path("empty").mkdir()
    put(Path("zipped/all.zip"), b"PK")
    put(Path("packed/train.rec"), b"")
    assert run(["dataset", "prepare", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not album.destination.exists()


def test_a_missing_package_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "insightface" else name)
    assert run(["dataset", "prepare", "in", "out", "--detector", "x.onnx"]) == 1
    assert "insightface is not installed: `pip install 'facetrain[data]'`" in capsys.readouterr().err


def test_what_was_passed_over_is_told_with_its_reason(
    album: Album, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    album.add("anna/beside.jpg", points=POINTS + 900)
    (album.source / "anna/out.jpg").symlink_to(tmp_path / "landmarks.csv")
    (album.source / "empty").mkdir()
    put(album.source / "ben/climbs.zip", b"PK ../../x")
    with album.table.open("a") as table:
        table.write("anna/gone.jpg" + ",5" * 10 + "\n")
    command = ["dataset", "prepare", str(album.source), str(album.destination)]
    assert run([*command, "--landmarks", str(album.table), "--processes", "1"]) == 0
    said = capsys.readouterr()
    assert f"1        outside  {REASONS['outside']}" in said.out
    assert said.err.splitlines()[:4] == [
        f"6 of 7 photos became faces of 1 identity in {album.destination}",
        "note: passed over 1 file without a picture",
        "note: did not follow 1 link to folders or out of SRC",
        "note: no photo for 1 line of landmarks (such as anna/gone.jpg)",
    ]


def test_photos_that_give_no_face_at_all_are_a_failure(
    album: Album, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (album.source / "anna").iterdir():
        path.write_bytes(b"damaged")
    command = ["dataset", "prepare", str(album.source), str(album.destination)]
    assert run([*command, "--landmarks", str(album.table), "--processes", "1"]) == 1
    said = capsys.readouterr()
    assert "0 of 6 photos became faces" in said.err
    assert "unreadable" in said.out


def test_a_killed_command_leaves_no_processes_behind(album: Album) -> None:
    photo = (album.source / "anna/0.jpg").read_bytes()
    for number in range(1000):
        album.add(f"ben/{number}.jpg", photo)
    start = "from facetrain.cli import main; main()"
    paths = [str(album.source), str(album.destination)]
    command = [sys.executable, "-c", start, "dataset", "prepare", *paths]
    process = subprocess.Popen([*command, "--landmarks", str(album.table), "--processes", "2"])
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        until = time.monotonic() + 60
        while not (album.journal.is_file() and album.journal.read_text().count("\n") > 3):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        started = [int(pid) for pid in children.read_text().split()]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in started):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert len(started) >= 2
    assert 0 < len(album.faces()) < 1006
    assert all(Image.open(album.destination / face).size == (112, 112) for face in album.faces())
