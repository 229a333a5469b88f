"""A person is found in folders and tables of every layout, and gone from every version; others stay."""

from pathlib import Path

import pytest

from facetrain.forgetting.removal import remove_from_inputs
from tests.forgetting.fake_s3 import FakeS3
from tests.forgetting.photos import (
    INPUTS,
    OUTPUTS,
    download,
    drop,
    find,
    folders,
    forget,
    labelled,
    picture,
    put,
    text,
    traces,
)
from training.formats.landmarks import read_landmarks
from training.formats.lists import read_pairs_txt


def test_every_version_of_a_folder_goes_and_other_people_stay(s3: FakeS3, aside: Path) -> None:
    folders(s3)
    put(s3, "images/zoe/0.jpg", picture("zoe", 9))  # written over
    put(s3, "images/zoe/1.jpg", None)  # deleted
    put(s3, "images/zoe/2.jpg", None)  # of which nothing but its name is there
    put(s3, "images/zoe/notes.txt", "sits at the window")
    put(s3, "images/zoe/deep/2.jpg", picture("zoe", 2))
    manifest = s3.versions(INPUTS, "inputs/staff/manifest.json")
    done = forget(s3, aside)
    assert traces(s3) == []
    assert (done.objects, done.versions, done.left) == (5, 5, [])
    assert s3.body(INPUTS, "inputs/staff/images/ada/1.jpg") == picture("ada", 1)
    assert s3.versions(INPUTS, "inputs/staff/manifest.json") == manifest  # another would start a job


def test_a_name_is_the_same_however_its_letters_are_written(s3: FakeS3, aside: Path) -> None:
    folders(s3, people=("ada", "Zoe\u0308"))
    forget(s3, aside, "Zo\u00eb")
    assert {key.split("/")[3] for _, key in s3.objects if "/images/" in key} == {"ada"}


def test_folders_that_wrap_all_identities_are_seen_through_as_the_trainer_does(
    s3: FakeS3, aside: Path
) -> None:
    for who in ("ada", "zoe"):
        put(s3, f"images/faces/all/{who}/1.jpg", picture(who, 1))
    drop(s3)
    forget(s3, aside)
    assert traces(s3) == []


def test_a_folder_of_that_name_on_another_level_is_nobody_and_said(s3: FakeS3, aside: Path) -> None:
    for who in ("ada", "bob"):
        put(s3, f"images/{who}/zoe/1.jpg", picture(who, 1))
    found = find(s3, aside)
    assert not found.places
    assert found.notes[0] == (
        "inputs/staff/images/ada/zoe/ is a folder of that name on another level: it stays"
    )


def test_deleted_pictures_are_found_however_folders_lay_in_their_time(s3: FakeS3, aside: Path) -> None:
    for layout in ("", "train/", "faces/all/"):
        for who in ("ada", "zoe"):
            put(s3, f"images/{layout}{who}/1.jpg", picture(who, 1))
            if layout != "faces/all/":
                put(s3, f"images/{layout}{who}/1.jpg", None)
    drop(s3)
    forget(s3, aside)
    assert traces(s3) == []
    assert sum("/ada/" in key for key, _ in s3.everything()) == 3


def test_people_of_the_validation_channel_and_of_half_an_upload_are_found(s3: FakeS3, aside: Path) -> None:
    folders(s3)
    put(s3, "validation/zoe/1.jpg", picture("zoe", 7))
    put(s3, "validation/bob/1.jpg", picture("bob", 7))
    drop(s3, validation="validation/")
    s3.put(INPUTS, "inputs/later/images/zoe/1.jpg", picture("zoe", 8))  # no manifest yet
    s3.put(INPUTS, "inputs/later/images/bob/1.jpg", picture("bob", 8))
    assert find(s3, aside).datasets == ["later", "staff"]
    forget(s3, aside)
    assert traces(s3) == []


def test_one_dataset_alone_can_be_named(s3: FakeS3, aside: Path) -> None:
    folders(s3)
    folders(s3, "guests")
    same = "inputs/staff/images/zoe/0.jpg has the same bytes as one of the pictures: it stays"
    assert same in find(s3, aside, dataset="guests").notes
    forget(s3, aside, dataset="guests")
    assert {key.split("/")[1] for key in traces(s3)} == {"staff"}


def test_the_same_bytes_under_other_names_are_found_in_both_buckets(s3: FakeS3, aside: Path) -> None:
    folders(s3)
    s3.put(INPUTS, "inputs/other/images/x/7.jpg", picture("zoe", 0))
    s3.put(INPUTS, "inputs/other/images/x/7.jpg", picture("ada", 5))
    s3.put(OUTPUTS, "outputs/staff/page.jpg", b"an older page")
    s3.put(OUTPUTS, "outputs/staff/page.jpg", picture("zoe", 1))
    forget(s3, aside)
    assert traces(s3) == []
    assert s3.body(INPUTS, "inputs/other/images/x/7.jpg") == picture("ada", 5)
    # The older page does not come to light again.
    assert [stored.body for stored in s3.objects[OUTPUTS, "outputs/staff/page.jpg"]] == [
        b"an older page",
        None,
    ]


# -- tables ------------------------------------------------------------------------------------------------


def test_pictures_are_known_by_the_table_of_labels(s3: FakeS3, aside: Path) -> None:
    rows = "file,identity\r\n000000.jpg,ada\r\n000001.jpg,zoe\r\nimages/000003.jpg,zoe\r\n"
    labelled(s3, rows)
    put(s3, "landmarks.csv", "file,x1,y1\n000001.jpg,3,4\n000002.jpg,5,6\n")
    forget(s3, aside)
    assert traces(s3) == []
    assert text(s3, "labels.csv") == "file,identity\r\n000000.jpg,ada\r\n"
    assert text(s3, "landmarks.csv") == "file,x1,y1\n000002.jpg,5,6\n"


def test_the_newest_table_to_name_a_picture_says_whose_it_is(s3: FakeS3, aside: Path) -> None:
    labelled(s3, "file,identity\n000000.jpg,zoe\n000001.jpg,zoe\n")
    put(s3, "labels.csv", "file,identity\n000000.jpg,ada\n000002.jpg,ada\n")
    put(s3, "images/000003.jpg", None)
    forget(s3, aside)
    left = {key for _, key in s3.objects if "/images/" in key}
    assert left == {f"inputs/staff/images/00000{number}.jpg" for number in (0, 2, 3)}
    assert s3.versions(INPUTS, "inputs/staff/labels.csv") == 1


def test_a_version_of_a_table_that_never_held_the_person_stays(s3: FakeS3, aside: Path) -> None:
    labelled(s3, "file,identity\n000000.jpg,ada\n")
    put(s3, "labels.csv", "file,identity\n000000.jpg,ada\n000001.jpg,zoe\n")
    forget(s3, aside)
    assert [stored.body for stored in s3.objects[INPUTS, "inputs/staff/labels.csv"]] == [
        b"file,identity\n000000.jpg,ada\n"
    ] * 2


TABLES = {
    "landmarks.txt": (
        "2\nlefteye_x lefteye_y\nada/0.jpg  1 2 3 4 5 6 7 8 9 10\nzoe/0.jpg  1 2 3 4 5 6 7 8 9 10\n",
        "1\nlefteye_x lefteye_y\nada/0.jpg  1 2 3 4 5 6 7 8 9 10\n",
    ),
    "list.lst": ("1\tzoe/0.jpg\tzoe\n1\tada/0.jpg\tada\n", "1\tada/0.jpg\tada\n"),
    "validation/lfw/pairs.txt": (
        "1\t1\nada\t1\t2\nada\t1\tzoe\t1\n",
        "ada\t1\t2\n",
    ),
    "validation/mine/pairs.csv": (
        "file1,file2,same\nada/0.jpg,ada/1.jpg,1\nada/0.jpg,zoe/1.jpg,0\n",
        "file1,file2,same\nada/0.jpg,ada/1.jpg,1\n",
    ),
    "groups.csv": ("identity,group\nada,a\nzoe,b\n", "identity,group\nada,a\n"),
    "left_out.csv": (
        "file,reason\nzoe/9.jpg,is empty\nada/9.jpg,is empty\n",
        "file,reason\nada/9.jpg,is empty\n",
    ),
    "renamed.csv": ("identity,folder\nzoe,zoe_1\nada,ada_1\n", "identity,folder\nada,ada_1\n"),
}


@pytest.mark.parametrize("key", TABLES)
def test_lines_that_name_the_person_go_from_any_table(s3: FakeS3, aside: Path, key: str) -> None:
    before, after = TABLES[key]
    folders(s3)
    put(s3, key, before)
    drop(s3, validation="validation/")
    forget(s3, aside)
    assert traces(s3) == []
    assert text(s3, key) == after


def test_what_is_left_of_landmarks_and_pairs_is_read_by_the_trainers_readers(
    s3: FakeS3, aside: Path, tmp_path: Path
) -> None:
    folders(s3)
    for key in ("landmarks.txt", "validation/lfw/pairs.txt"):
        put(s3, key, TABLES[key][0])
    forget(s3, aside)
    at = download(s3, "inputs/staff/", tmp_path / "there")
    assert set(read_landmarks(at / "landmarks.txt").faces) == {"ada/0.jpg"}
    assert read_pairs_txt(at / "validation/lfw/pairs.txt").same.tolist() == [True]


def test_a_number_as_a_name_takes_no_line_that_only_holds_the_number(s3: FakeS3, aside: Path) -> None:
    folders(s3, people=("1", "2", "3"))
    put(s3, "validation/pairs.csv", "file1,file2,same\n2/0.jpg,2/1.jpg,1\n1/0.jpg,2/1.jpg,0\n")
    put(s3, "landmarks.csv", "file,x1,y1\n2/0.jpg,1,1\n1/0.jpg,5,5\n")
    forget(s3, aside, "1")
    assert text(s3, "validation/pairs.csv") == "file1,file2,same\n2/0.jpg,2/1.jpg,1\n"
    assert text(s3, "landmarks.csv") == "file,x1,y1\n2/0.jpg,1,1\n"


def test_a_table_of_another_layout_that_holds_the_name_is_said(s3: FakeS3, aside: Path) -> None:
    folders(s3)
    put(s3, "visitors.txt", "on monday zoe came\nthen she left\n")
    assert "inputs/staff/visitors.txt holds that name in a layout that is not known: look at it yourself" in (
        find(s3, aside).notes
    )


def test_what_was_changed_meanwhile_is_not_written_over(s3: FakeS3, aside: Path) -> None:
    labelled(s3, "file,identity\n000000.jpg,ada\n000001.jpg,zoe\n000003.jpg,zoe\n")
    found = find(s3, aside)
    put(s3, "labels.csv", "file,identity\n000000.jpg,ada\n000009.jpg,new\n")
    (left,) = remove_from_inputs(s3, found, aside).left
    assert (left.kind, left.why) == ("labels", "changed while it was written anew: run it again")
    assert text(s3, "labels.csv").endswith("000009.jpg,new\n")
    forget(s3, aside)
    assert traces(s3) == []


def test_a_list_of_pairs_in_a_persons_folder_hides_nobody(s3: FakeS3, aside: Path) -> None:
    folders(s3)
    put(s3, "images/zoe/pairs.txt", "zoe\t1\t2\n")
    forget(s3, aside)
    assert traces(s3) == []


def test_what_can_never_be_looked_into_is_said(s3: FakeS3, aside: Path) -> None:
    folders(s3)
    put(s3, "validation/lfw.bin", b"a pickle")
    put(s3, "images/.prepare/contact-sheet.jpg", b"forty faces")
    drop(s3, weights="s3://elsewhere/weights/", validation="validation/")
    notes = find(s3, aside).notes
    assert "s3://elsewhere/weights/ is in another bucket, and is not looked at" in notes
    assert any(
        "1 hidden files are not looked into (such as inputs/staff/images/.prepare/" in it for it in notes
    )
    assert any("1 .bin files name nobody (such as inputs/staff/validation/lfw.bin)" in note for note in notes)
