"""What `dataset check` finds in folders, tables, shards and .rec files."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facetrain.datasets.check.report import check, histogram
from facetrain.errors import InputError
from tests.datasets.faces import encoded, people, pixels, put
from tests.formats import test_records as rec
from tests.formats.test_shards import shard

FACES = Path(__file__).resolve().parents[3] / "shared" / "data" / "att_faces"


class Quiet:
    """Counts what it is told of."""

    def __init__(self) -> None:
        self.total, self.done, self.stages = 0, 0, list[str]()

    def start(self, images: int) -> None:
        self.total = images

    def advance(self, images: int) -> None:
        self.done += images

    def stage(self, name: str) -> None:
        self.stages.append(name)


def checked(folder: Path) -> dict[str, Any]:
    return check(folder, Quiet())


def test_folders_are_counted_by_identity(tmp_path: Path) -> None:
    report = checked(people(tmp_path, {"anna": 1, "ben": 2, "carl": 6}))
    assert (report["images"], report["identities"], report["unreadable"], report["duplicates"]) == (
        9,
        3,
        0,
        0,
    )
    each = report["images_per_identity"]
    assert (each["min"], each["median"], each["max"], each["most_pictured"]) == (1, 2.0, 6, "carl")
    assert report["identities_with_one_image"] == ["anna"]
    assert [(bar["images"], bar["identities"]) for bar in each["histogram"]] == [
        ("1", 1),
        ("2", 1),
        ("3-4", 0),
        ("5-9", 1),
    ]
    assert report["harm"] == []


def test_the_last_bar_of_the_histogram_is_open() -> None:
    assert histogram(np.array([1_000, 5_000, 999])) == [
        {"images": "500-999", "identities": 1},
        {"images": "1000+", "identities": 2},
    ]


def test_progress_reaches_the_number_of_images(tmp_path: Path) -> None:
    watching = Quiet()
    check(people(tmp_path, {"anna": 40, "ben": 2}), watching)
    assert (watching.total, watching.done, watching.stages) == (42, 42, ["comparing"])


def test_sizes_and_formats_are_those_of_the_files(tmp_path: Path) -> None:
    put(tmp_path / "anna" / "1.jpg", encoded(1, "JPEG"))
    put(tmp_path / "anna" / "2.jpg", encoded(2, "JPEG", (200, 150)))
    put(tmp_path / "ben" / "1.png", encoded(3, "PNG", (50, 50)))
    put(tmp_path / "ben" / "wrong-suffix.jpg", encoded(4, "BMP"))
    report = checked(tmp_path)
    assert report["formats"] == {"JPEG": 2, "PNG": 1, "BMP": 1}
    sizes = report["sizes"]
    assert (sizes["112x112"], sizes["smaller"], sizes["larger"], sizes["not_square"]) == (2, 1, 1, 1)
    assert sizes["commonest"]["150x200"] == 1
    assert "2 images not 112x112" in " ".join(report["advice"])


def test_the_same_pixels_in_two_formats_are_duplicates_within_an_identity(tmp_path: Path) -> None:
    people(tmp_path, {"anna": 2, "ben": 2})
    put(tmp_path / "anna" / "copy.bmp", encoded(0, "BMP"))
    report = checked(tmp_path)
    assert report["duplicates"] == 1
    groups = report["duplicate_groups"]
    assert (groups["within_identities"], groups["across_identities"]) == (1, 0)
    assert groups["listed"] == [
        {"images": 2, "identities": ["anna"], "files": ["images/anna/0.png", "images/anna/copy.bmp"]}
    ]
    assert report["harm"] == []


def test_one_image_of_two_identities_is_a_label_error(tmp_path: Path) -> None:
    people(tmp_path, {"anna": 2, "ben": 2})
    put(tmp_path / "ben" / "hers.png", encoded(0))
    report = checked(tmp_path)
    assert report["duplicate_groups"]["across_identities"] == 1
    assert report["duplicate_groups"]["listed"][0]["identities"] == ["anna", "ben"]
    assert report["harm"] == ["1 image in several identities: at most one of the labels is right"]


def test_a_photograph_saved_anew_is_a_near_duplicate(tmp_path: Path) -> None:
    people(tmp_path, {"anna": 4, "ben": 4})
    put(tmp_path / "ben" / "again.jpg", encoded(0, "JPEG", quality=50))
    put(tmp_path / "anna" / "again.jpg", encoded(1, "JPEG", (56, 56)))
    near = checked(tmp_path)["near_duplicates"]
    assert (near["pairs"], near["across_identities"], near["not_compared"]) == (2, 1, 0)
    assert near["listed"][0]["files"] == ["images/anna/0.png", "images/ben/again.jpg"]


def test_pictures_without_contrast_are_no_near_duplicates(tmp_path: Path) -> None:
    people(tmp_path, {"anna": 2, "ben": 2})
    for number in range(4):
        put(tmp_path / "anna" / f"{number}.pgm", b"P5 112 112 255\n" + bytes([100 + number]) * 112 * 112)
    assert checked(tmp_path)["near_duplicates"]["pairs"] == 0


def test_unreadable_images_are_named_with_the_reason(tmp_path: Path) -> None:
    people(tmp_path, {"anna": 2, "ben": 2})
    put(tmp_path / "anna" / "a.jpg", b"")
    put(tmp_path / "anna" / "b.jpg", b"no image")
    put(tmp_path / "anna" / "c.png", encoded(9)[:500])
    report = checked(tmp_path)
    assert report["unreadable"] == 3
    assert {one["file"]: one["reason"] for one in report["unreadable_files"]} == {
        "anna/a.jpg": "is empty",
        "anna/b.jpg": "is not an image that can be read (JPEG, PNG, BMP, PGM, TIFF and WebP can)",
        "anna/c.png": "is damaged or cut short",
    }
    assert report["duplicates"] == 0  # what cannot be read is a copy of nothing
    assert report["harm"] == ["3 images that cannot be read: left out of training"]


def test_a_dataset_of_unreadable_images_is_still_reported(tmp_path: Path) -> None:
    for who in ("anna", "ben"):
        put(tmp_path / who / "1.jpg", b"no image")
    report = checked(tmp_path)
    assert (report["unreadable"], report["sizes"]["different"], report["formats"]) == (2, 0, {})


def test_one_identity_alone_harms(tmp_path: Path) -> None:
    assert checked(people(tmp_path, {"anna": 3}))["harm"] == ["1 identity: training needs two and more"]


def test_folders_without_an_image_are_named(tmp_path: Path) -> None:
    people(tmp_path, {"anna": 2, "ben": 2})
    put(tmp_path / "carl" / "notes.txt", b"later")
    (tmp_path / "dora" / "deeper").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    assert checked(tmp_path)["empty_folders"] == {"count": 2, "listed": ["carl", "dora"]}


def test_a_table_says_whose_the_images_are(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path / f"{number}.png", encoded(number))
    (tmp_path / "labels.csv").write_text("file,identity\n0.png,anna\n1.png,ben\n2.png,ben\nlost.png,ben\n")
    report = checked(tmp_path)
    assert (report["images"], report["identities"]) == (3, 2)
    assert report["listing"] == {"labels_without_image": 1, "images_without_label": 1}


def test_the_list_of_celeba_says_whose_the_images_are(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / "images" / f"{number}.png", encoded(number))
    (tmp_path / "identity_CelebA.txt").write_text("0.png 2880\n1.png 2937\n2.png 2937\n")
    assert checked(tmp_path)["identities"] == 2


def dataset(root: Path) -> Path:
    people(root / "images", {"anna": 2, "ben": 2})
    for number, name in enumerate(("carl", "dora")):
        put(root / "validation" / name / "1.png", encoded(100 + number))
        put(root / "validation" / name / "2.png", encoded(200 + number))
    return root


def test_a_dataset_without_leaks_is_fine(tmp_path: Path) -> None:
    report = checked(dataset(tmp_path))
    assert report["images"] == 4
    assert report["validation"] == {"images": 4, "identities": 2}
    leaks = report["leaks"]
    assert (leaks["images"], leaks["near"], leaks["identities"]) == (0, 0, 0)


def test_images_and_people_of_training_and_validation_alike_are_leaks(tmp_path: Path) -> None:
    dataset(tmp_path)
    put(tmp_path / "validation" / "carl" / "3.png", encoded(0))
    put(tmp_path / "validation" / "carl" / "4.jpg", encoded(1, "JPEG", quality=70))
    put(tmp_path / "validation" / "ben" / "1.png", encoded(300))
    report = checked(tmp_path)
    leaks = report["leaks"]
    assert (leaks["images"], leaks["near"], leaks["identities"]) == (1, 1, 1)
    assert leaks["listed_identities"] == ["ben"]
    assert leaks["listed"][0]["files"] == ["images/anna/0.png", "validation/carl/3.png"]
    assert report["harm"] == [
        "1 image in training and in validation: the figures would flatter",
        "1 identity in training and in validation",
    ]
    assert report["duplicates"] == 0


def test_an_image_of_a_verification_set_in_training_is_a_leak(tmp_path: Path) -> None:
    people(tmp_path / "images", {"anna": 2, "ben": 2})
    items = [encoded(0), encoded(50), np.frombuffer(encoded(51), np.uint8), pixels(1)]
    put(tmp_path / "validation" / "lfw.bin", pickle.dumps((items, [True, False])))
    report = checked(tmp_path)
    assert report["validation"] == {"images": 4, "identities": 0}
    assert report["leaks"]["images"] == 2


def test_images_of_a_list_of_pairs_need_no_identities(tmp_path: Path) -> None:
    people(tmp_path / "images", {"anna": 2, "ben": 2})
    put(tmp_path / "validation" / "pairs.csv", b"first,second,same\na.png,b.png,1\n")
    put(tmp_path / "validation" / "a.png", encoded(100))
    put(tmp_path / "validation" / "b.png", encoded(0))
    report = checked(tmp_path)
    assert report["validation"] == {"images": 2, "identities": 0}
    assert (report["leaks"]["images"], report["leaks"]["identities"]) == (1, 0)


def test_a_table_beside_a_rec_is_said_not_to_be_read(tmp_path: Path) -> None:
    (rec.write(tmp_path / "data", rec.faces()) / "labels.csv").write_text("file,identity\n1.jpg,anna\n")
    assert "1 table beside .rec files, which is not read" in " ".join(checked(tmp_path / "data")["advice"])


def test_a_folder_of_people_may_lie_beside_its_validation(tmp_path: Path) -> None:
    people(tmp_path, {"anna": 2, "ben": 2})
    put(tmp_path / "validation" / "carl" / "1.png", encoded(100))
    report = checked(tmp_path)
    assert (report["images"], report["identities"], report["validation"]["images"]) == (4, 2, 1)


def test_a_manifest_says_where_the_images_are(tmp_path: Path) -> None:
    people(tmp_path / "faces", {"anna": 2, "ben": 2})
    (tmp_path / "manifest.json").write_text('{"channels": {"images": "faces/"}}')
    assert checked(tmp_path)["images"] == 4


def test_shards_are_read_with_the_gaps_of_their_classes(tmp_path: Path) -> None:
    members = {f"{n}.png": encoded(n) for n in range(3)} | {"0.cls": b"0", "1.cls": b"2", "2.cls": b"5"}
    shard(tmp_path / "000000.tar", members)
    report = checked(tmp_path)
    assert (report["images"], report["identities"], report["files"]) == (3, 3, 1)
    assert report["bytes"] == (tmp_path / "000000.tar").stat().st_size
    assert report["class_gaps"] == {"classes": 6, "missing": 3, "first": ["1", "3", "4"]}
    assert report["download"]["seconds"] is None


def test_classes_that_the_table_of_names_has_and_no_image_are_gaps(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", {"a.png": encoded(1), "a.cls": b"0", "b.png": encoded(2), "b.cls": b"2"})
    (tmp_path / "identities.csv").write_text("class,identity\n0,anna\n1,ben\n2,carl\n")
    assert checked(tmp_path)["class_gaps"] == {"classes": 3, "missing": 1, "first": ["1"]}


def test_a_rec_is_read_in_place(tmp_path: Path) -> None:
    report = checked(rec.write(tmp_path / "data", rec.faces()))
    assert (report["images"], report["identities"], report["unreadable"]) == (4, 2, 0)
    assert report["class_gaps"] == {"classes": 8, "missing": 6, "first": ["1", "2", "3", "4", "5", "6"]}


def test_folders_have_no_class_numbers(tmp_path: Path) -> None:
    assert checked(people(tmp_path, {"1": 2, "7": 2}))["class_gaps"] is None


def test_small_files_take_as_long_as_measured(tmp_path: Path) -> None:
    report = check(people(tmp_path, {"anna": 100, "ben": 40}), Quiet(), images_per_second=7)
    assert report["download"]["requests"] == 140
    assert report["download"]["seconds"] == 1  # 10,955 s / 1.53 million, 140 times
    assert "sagemaker-bencher" in report["download"]["basis"]
    own, published = report["training"]
    assert (own["epochs"], own["seconds"], own["basis"]) == (20, 400, "7 images/s, as given")
    assert "8 V100" in published["basis"]


def test_names_that_people_take_for_one_are_named(tmp_path: Path) -> None:
    people(tmp_path, {"Anna Berg": 1, "anna_berg": 1, "José": 1, "Jose\u0301": 1, "carl": 1})
    found = {one["name"]: one["reason"] for one in checked(tmp_path)["names"]["listed"]}
    assert set(found) == {"anna_berg", "José"}
    assert found["anna_berg"].startswith('differs from "Anna Berg" only in')


@pytest.mark.skipif(not FACES.is_dir(), reason="needs the AT&T faces in ../shared/data")
def test_the_att_faces_are_fine_and_no_two_of_them_the_same() -> None:
    report = checked(FACES)
    assert (report["images"], report["identities"], report["unreadable"], report["duplicates"]) == (
        400,
        40,
        0,
        0,
    )
    assert report["near_duplicates"]["pairs"] == 0
    assert report["sizes"]["commonest"] == {"92x112": 400}
    assert report["harm"] == []


def test_a_place_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no such folder"):
        checked(tmp_path / "none")
    with pytest.raises(InputError, match=r"is no folder"):
        checked(put(tmp_path / "file", b""))
    with pytest.raises(InputError, match=r"no images among 1 file"):
        checked(tmp_path)
