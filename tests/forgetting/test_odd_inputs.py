"""What other clients put into the bucket: odd keys, tables, manifests. A person is found there, too."""

import json
from pathlib import Path

import pytest

from tests.forgetting.fake_s3 import FakeS3
from tests.forgetting.photos import INPUTS, drop, find, folders, forget, picture, put, text, traces


@pytest.mark.parametrize("who", ["z*e", "[z]oe", "z.e", "z+o e", "zoë", "(", "\\d", "z|e", "-r", "%7A"])
def test_a_name_is_no_pattern(s3: FakeS3, aside: Path, who: str) -> None:
    folders(s3, people=("zoe", "ze", who))
    put(s3, "labels.csv", f"file,identity\nze/0.jpg,ze\n{who}/0.jpg,{who}\n")
    assert {place.key for place in find(s3, aside, who).places} == {
        *(f"inputs/staff/images/{who}/{number}.jpg" for number in range(2)),
        "inputs/staff/labels.csv",
    }


@pytest.mark.parametrize("labels", ["", "file,identity\nada/0.jpg,ada\nzoe/0.jpg,zoe\n"])
def test_a_slash_too_many_hides_nobody(s3: FakeS3, aside: Path, labels: str) -> None:
    folders(s3, people=("ada",))
    put(s3, "images//zoe/0.jpg", picture("zoe", 0))
    if labels:
        put(s3, "labels.csv", labels)
    s3.put(INPUTS, "inputs//staff/images/zoe/1.jpg", picture("zoe", 1))
    forget(s3, aside)
    assert traces(s3) == []
    assert s3.versions(INPUTS, "inputs/staff/images/ada/0.jpg") == 1


def test_a_manifest_above_all_datasets_hides_none(s3: FakeS3, aside: Path) -> None:
    put(s3, "images/zoe/0.jpg", picture("zoe", 0))
    s3.put(INPUTS, "inputs/manifest.json", json.dumps({"channels": {"images": "images/"}}).encode())
    forget(s3, aside)
    assert traces(s3) == []


def test_manifests_that_are_nested_without_end_are_passed_over(s3: FakeS3, aside: Path) -> None:
    folders(s3)
    s3.put(INPUTS, "inputs/staff/manifest.json", b"[" * 100_000)
    forget(s3, aside)
    assert traces(s3) == []


def test_a_folder_without_a_picture_goes_too(s3: FakeS3, aside: Path) -> None:
    folders(s3, people=("ada", "bob"))
    put(s3, "images/zoe/", "")  # as consoles make folders
    put(s3, "images/zoe/walk.mp4", picture("zoe", 0))
    forget(s3, aside)
    assert traces(s3) == []


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_lines_end_as_any_system_ends_them(s3: FakeS3, aside: Path, end: str) -> None:
    for number, who in enumerate(("ada", "zoe")):
        put(s3, f"images/{number}.jpg", picture(who, number))
    put(s3, "labels.csv", end.join(("file,identity", "0.jpg,ada", "1.jpg,zoe", "")))
    forget(s3, aside)
    assert traces(s3) == []
    assert text(s3, "labels.csv") == end.join(("file,identity", "0.jpg,ada", ""))


def test_a_table_with_cells_of_any_length_is_read(s3: FakeS3, aside: Path) -> None:
    folders(s3)
    long = "7" * 200_000
    put(s3, "embeddings.csv", f"file,vector\nada/0.jpg,{long}\nzoe/0.jpg,{long}\n")
    forget(s3, aside)
    assert text(s3, "embeddings.csv") == f"file,vector\nada/0.jpg,{long}\n"


def test_what_several_datasets_read_belongs_to_each(s3: FakeS3, aside: Path) -> None:
    for number, who in enumerate(("ada", "zoe")):
        put(s3, f"photos/{number}.jpg", picture(who, number))
    drop(s3, images="photos/")
    labels = "file,identity\n0.jpg,ada\n1.jpg,zoe\n"
    s3.put(INPUTS, "inputs/again/who.csv", labels.encode())
    drop(s3, "again", images=f"s3://{INPUTS}/inputs/staff/photos/", labels="who.csv")
    for dataset in ("again", "staff"):
        assert [place.key for place in find(s3, aside, dataset=dataset).places] == [
            "inputs/staff/photos/1.jpg",
            "inputs/again/who.csv",
        ]
    assert find(s3, aside, dataset="other").places == []


def test_photos_beside_the_datasets_and_archives_are_said(s3: FakeS3, aside: Path) -> None:
    s3.put(INPUTS, "inputs/zoe/0.jpg", picture("zoe", 0))
    put(s3, "photos.zip", "PK")
    notes = find(s3, aside).notes
    assert "inputs/zoe/ is a dataset of that name: it stays" in notes
    assert any("archives are not looked into (such as inputs/staff/photos.zip; 1 in all)" in note for note in notes)
