"""Which images there are and whose, by folders and by tables."""

import os
from pathlib import Path

import pytest

from training.formats.errors import DataError
from training.formats.labels import read_labels
from training.formats.listing import Listing, find


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_each_folder_is_an_identity(tmp_path: Path) -> None:
    found = find(touch(tmp_path, "b/2.png", "a/1.jpg", "b/1.JPG"), None)
    assert found.files == ("a/1.jpg", "b/1.JPG", "b/2.png")
    assert found.identities == ("a", "b")
    assert found.labels.tolist() == [0, 1, 1]
    assert found.counts().tolist() == [1, 2]


def test_a_folder_that_wraps_all_identities_is_none_itself(tmp_path: Path) -> None:
    assert find(touch(tmp_path, "faces/all/s1/1.pgm", "faces/all/s2/1.pgm"), None).identities == ("s1", "s2")


def test_folders_within_an_identity_belong_to_it_and_are_mentioned(tmp_path: Path) -> None:
    found = find(touch(tmp_path, "a/2019/1.jpg", "a/2020/1.jpg", "b/1.jpg"), None)
    assert found.identities == ("a", "b")
    assert found.notes == ("images_in_deeper_folders=2 identity_is_folder_level=1",)


def test_what_systems_leave_behind_is_passed_over(tmp_path: Path) -> None:
    files = ["a/.DS_Store", "a/Thumbs.db", "__MACOSX/a/1.jpg", ".git/b/1.jpg", "a/._1.jpg", "notes.txt"]
    assert find(touch(tmp_path, "a/1.jpg", "c/1.jpg", *files), None).files == ("a/1.jpg", "c/1.jpg")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], r"channels.images: no images among 0 files"),
        (["faces.zip"], r"\.zip files are not read: unpack them, or make plain \.tar shards of them"),
        (["train.idx"], r"\.idx files are not read"),
        (["1.jpg", "2.jpg"], r"nothing says whose they are: put them in a folder for each identity"),
    ],
)
def test_images_without_identities_are_refused(tmp_path: Path, files: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        find(touch(tmp_path, *files), None)


def test_a_channel_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"channels.images: .*gone does not exist"):
        find(tmp_path / "gone", None)


def labelled(tmp_path: Path, text: str, *files: str) -> Listing:
    (tmp_path / "labels").mkdir(parents=True)
    (tmp_path / "labels" / "labels.csv").write_text(text, encoding="utf-8")
    return find(touch(tmp_path / "images", *files), tmp_path / "labels")


@pytest.mark.parametrize(
    "text",
    [
        "file,identity\n1.jpg,anna\n2.jpg,ben\n",
        "id;path\nanna;1.jpg\nben;./2.jpg\n",
        "\ufeffImage,Age,Label\r\n1.jpg,30,anna\r\n\r\n2.jpg,40,ben\r\n",
        "1.jpg anna\n2.jpg ben",
        '"1.jpg","anna"\n"2.jpg","ben"',
        "filename\tperson\nimages/1.jpg\tanna\nimages\\2.jpg\tben",
    ],
)
def test_tables_are_understood_as_people_write_them(tmp_path: Path, text: str) -> None:
    found = labelled(tmp_path, text, "1.jpg", "2.jpg")
    assert found.files == ("1.jpg", "2.jpg")
    assert found.identities == ("anna", "ben")


def test_a_table_beside_the_images_is_taken_too(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,identity\nx/1.jpg,anna\nx/2.jpg,ben\n")
    assert find(touch(tmp_path, "x/1.jpg", "x/2.jpg"), None).identities == ("anna", "ben")


def test_a_table_may_leave_out_the_folder_that_wraps_all_images(tmp_path: Path) -> None:
    """As CelebA is unpacked: img_align_celeba/ beside a table that names its files alone."""
    touch(tmp_path, "img_align_celeba/000001.jpg", "img_align_celeba/000002.jpg", "list_eval_partition.txt")
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 2937\n")
    found = find(tmp_path, tmp_path / "identity_CelebA.txt")
    assert found.files == ("img_align_celeba/000001.jpg", "img_align_celeba/000002.jpg")
    assert found.identities == ("2880", "2937")


def test_a_file_of_the_same_name_in_another_folder_is_not_taken_for_one_that_is_missing(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "labels.csv").write_text("a/1.jpg,anna\n2.jpg,ben\n")
    assert find(tmp_path, None).files == ("a/1.jpg",)


def test_gaps_in_the_labels_are_fine(tmp_path: Path) -> None:
    assert labelled(tmp_path, "1.jpg,7\n2.jpg,900\n", "1.jpg", "2.jpg").labels.tolist() == [0, 1]


def test_lines_without_image_and_images_without_line_are_counted(tmp_path: Path) -> None:
    found = labelled(tmp_path, "1.jpg,a\n2.jpg,b\n3.jpg,b\n", "1.jpg", "2.jpg", "9.jpg")
    assert found.notes == ("labels_without_image=1", "images_without_label=1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "labels.csv is empty"),
        ("file,identity\n", "holds a header and nothing else"),
        ("picture_of,who\n1.jpg,a\n", "line 1: no columns for file and identity"),
        ("file,identity\n1.jpg\n", "line 2: 1 columns where file and identity are needed"),
        ("file,identity\n1.jpg,a\n,b\n", "line 3: the file is empty"),
        ("file,identity\n1.jpg,\n", "line 2: the identity is empty"),
        ("file,identity\n1.jpg,a\n1.jpg,b\n", 'line 3: "1.jpg" already has another identity'),
        ("file,identity\n8.jpg,a\n", 'none of its 1 files is in channels.images: "8.jpg"'),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        labelled(tmp_path, text, "1.jpg")


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("file,identity\n1.jpg,Jürgen\n".encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8"):
        read_labels(tmp_path / "labels.csv")


# -- Names and links ---------------------------------------------------------------------------------------


def test_a_table_finds_names_however_their_accents_are_written(tmp_path: Path) -> None:
    one, two = "Zo\u00eb.jpg", "Zoe\u0308.jpg"
    assert labelled(tmp_path, f"file,identity\n{one},a\n2.jpg,b\n", two, "2.jpg").files == ("2.jpg", two)


def test_a_file_that_a_table_names_in_two_ways_has_one_identity(tmp_path: Path) -> None:
    text = "1.jpg,anna\nimages/1.jpg,{}\n2.jpg,ben\n"
    assert len(labelled(tmp_path / "same", text.format("anna"), "1.jpg", "2.jpg")) == 2
    with pytest.raises(DataError, match="is named twice, with two identities"):
        labelled(tmp_path / "other", text.format("ben"), "1.jpg", "2.jpg")


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    assert find(touch(tmp_path, "a.jpg/1.jpg", "b/1.jpg"), None).identities == ("a.jpg", "b")


def test_links_to_folders_are_not_followed_but_mentioned(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    found = find(tmp_path, None)
    assert len(found) == 2
    assert found.notes == ("folder_links_not_followed=1",)


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\udcff.jpg"])
def test_a_name_that_could_not_be_written_down_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="has control characters or is no UTF-8: rename it"):
        find(touch(tmp_path, "a/1.jpg", f"b/{name}"), None)


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    scandir = os.scandir

    def refusing(path: str) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=r"/b cannot be read \(Permission denied\): check the folder"):
        find(tmp_path, None)
