"""`facetrain dataset check` of pictures with YOLO's label files."""

import json
from pathlib import Path
from typing import Any

import pytest

from facetrain.cli.entry import run
from tests.datasets.faces import encoded, people, put

Said = pytest.CaptureFixture[str]
BOX = b"0 0.5 0.5 0.2 0.4\n"


def command(*arguments: str | Path) -> int:
    return run(["dataset", "check", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures to train on, one to measure on, and their classes."""
    for number, name in enumerate(("train/a", "train/b", "train/c", "val/d")):
        put(tmp_path / f"images/{name}.jpg", encoded(number, "JPEG", (48, 64)))
        put(tmp_path / f"labels/{name}.txt", BOX)
    put(tmp_path / "cfg/faces.yaml", b"nc: 1\nnames: [face]\ntrain: ../elsewhere/images/train\n")
    return tmp_path


def report(folder: Path, capsys: Said, *options: str) -> dict[str, Any]:
    command(folder, "--json", *options)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_sound_folder_is_counted(folder: Path, capsys: Said) -> None:
    put(folder / "labels/train/c.txt", b"")
    assert command(folder) == 0
    out = capsys.readouterr().out
    assert "images       4 (train 3, val 1)\n" in out
    assert "label files  4, of which 1 have no box\n" in out
    assert "boxes        3\n" in out
    assert "        0          3  face\n" in out
    assert out.endswith("nothing that would harm training\n")


def test_what_is_wrong_with_a_row_is_told_by_its_line(folder: Path, capsys: Said) -> None:
    put(folder / "labels/train/a.txt", BOX + b"0 1.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4\n")
    put(folder / "labels/train/b.txt", b"face 0.5 0.5\n")
    put(folder / "labels/train/c.txt", b"\xff\xfe0")
    assert command(folder) == 1
    out = capsys.readouterr().out
    assert "labels/train/a.txt, line 2: 1.5 is out of range" in out
    assert "labels/train/a.txt, line 3: class 1 is not among the 1 that nc and names give" in out
    assert "labels/train/b.txt, line 1: has 3 columns" in out
    assert "labels/train/c.txt is not UTF-8 text" in out
    assert "\nharm\n  1 row of classes that nc and names do not give: the job would be refused\n" in out


def test_missing_and_lonely_label_files_are_listed(folder: Path, capsys: Said) -> None:
    (folder / "labels/train/a.txt").rename(folder / "labels/train/z.txt")
    found = report(folder, capsys)
    assert found["missing_labels"] == {"count": 1, "listed": ["train/a.jpg"]}
    assert found["labels_without_picture"] == {"count": 1, "listed": ["train/z.txt"]}
    assert not found["harm"]
    for name in ("train/b", "train/c"):
        (folder / f"labels/{name}.txt").unlink()
    assert report(folder, capsys)["harm"][0].startswith("3 of 4 images without a label file")


def test_pictures_that_cannot_be_trained_on_and_copies_are_told(folder: Path, capsys: Said) -> None:
    put(folder / "images/train/a.jpg", b"no picture")
    put(folder / "images/train/b.jpg", encoded(1, "JPEG", (48, 6)))
    put(folder / "images/train/c.jpg", (folder / "images/val/d.jpg").read_bytes())
    found = report(folder, capsys)
    assert found["unreadable"]["count"] == 2
    assert "train/b.jpg has 6 x 48 pixels, too few" in found["unreadable"]["listed"]
    assert found["in_several_splits"] == 1
    assert "1 image in train and in another folder: the figures would flatter" in found["harm"]


def test_labels_may_lie_beside_the_pictures_where_the_algorithm_is_named(
    tmp_path: Path, capsys: Said
) -> None:
    put(tmp_path / "a.png", encoded(0))
    put(tmp_path / "a.txt", BOX)
    found = report(tmp_path, capsys, "--algorithm", "yolov5")
    assert (found["boxes"], found["named"]) == (1, 0)
    assert any("no YAML names the classes" in line for line in found["advice"])


def test_identities_with_a_table_are_no_boxes(tmp_path: Path, capsys: Said) -> None:
    people(tmp_path / "images", {"anna": 2, "ben": 2})
    put(tmp_path / "labels/labels.csv", b"file,identity\n")
    put(tmp_path / "labels/notes.txt", b"none of a picture\n")
    command(tmp_path, "--json", "--algorithm", "arcface")
    assert "boxes" not in capsys.readouterr().out
    command(tmp_path)
    assert "label files" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "yaml", "said"),
    [
        ((), b"nc: 2\nnames: [face]\n", "cfg/faces.yaml: nc is 2, but names has 1: make them agree"),
        ((), b"names: [face\n", "is not YAML"),
        (("--algorithm", "yolo5"), b"nc: 1\n", 'did you mean "yolov5"?'),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(
    folder: Path, capsys: Said, options: tuple[str, ...], yaml: bytes, said: str
) -> None:
    put(folder / "cfg/faces.yaml", yaml)
    assert command(folder, *options) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
