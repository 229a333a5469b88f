"""What other clients put into the bucket: odd keys, tables, manifests. A person is found there, too."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from facetrain.errors import OperationError
from facetrain.forgetting.versions import of_key
from tests.forgetting.fake_s3 import FakeS3
from tests.forgetting.photos import (
    INPUTS,
    drop,
    find,
    folders,
    forget,
    labelled,
    picture,
    put,
    shard,
    text,
    traces,
)


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
    said = "archives are not looked into (such as inputs/staff/photos.zip; 1 in all)"
    assert any(note.startswith(said) for note in notes)


def test_of_who_is_found_nowhere_it_is_said_where_nobody_looked(s3: FakeS3, aside: Path) -> None:
    folders(s3, people=("ada", "bob"))
    put(s3, "validation/lfw.bin", b"a pickle")
    (note,) = find(s3, aside).notes
    assert note.startswith("1 .bin file")


def test_what_lies_in_glacier_is_named(aside: Path) -> None:
    class Cold(FakeS3):
        def get_object(self, Bucket: str, Key: str, VersionId: str | None = None) -> dict[str, Any]:
            if Key.endswith(".tar"):
                raise ClientError({"Error": {"Code": "InvalidObjectState"}}, "GetObject")
            return super().get_object(Bucket, Key, VersionId)

    cold = Cold()
    put(cold, "images/a.tar", shard([("1", "zoe", picture("zoe", 1))]))
    with pytest.raises(OperationError, match=r"inputs/staff/images/a.tar lies in Glacier.*--version-id v0 "):
        find(cold, aside)


# -- a bucket that keeps no versions, or no longer -----------------------------------------------------------


@pytest.mark.parametrize("before", [True, False])
def test_without_versions_what_is_written_anew_stays(s3: FakeS3, aside: Path, before: bool) -> None:
    s3.suspended = before
    labelled(s3, "file,identity\n000000.jpg,ada\n000001.jpg,zoe\n000003.jpg,zoe\n")
    put(s3, "more/a.tar", shard([("1", "ada", picture("ada", 1)), ("2", "zoe", picture("zoe", 2))]))
    drop(s3, "more", images="s3://" + INPUTS + "/inputs/staff/more/")
    s3.suspended = True
    assert forget(s3, aside).left == []
    assert traces(s3) == []
    assert text(s3, "labels.csv") == "file,identity\n000000.jpg,ada\n"
    assert picture("ada", 1) in s3.body(INPUTS, "inputs/staff/more/a.tar")


def test_without_versions_no_older_one_comes_to_light(s3: FakeS3, aside: Path) -> None:
    put(s3, "labels.csv", "file,identity\n")
    s3.suspended = True
    labelled(s3, "file,identity\n000001.jpg,zoe\n000003.jpg,zoe\n")
    forget(s3, aside)
    assert traces(s3) == []
    assert [one.id for one in s3.objects[INPUTS, "inputs/staff/labels.csv"]] == ["v0", "null"]
    assert s3.objects[INPUTS, "inputs/staff/labels.csv"][-1].body is None


def test_one_object_is_found_by_one_look(s3: FakeS3) -> None:
    for number in range(50):
        put(s3, f"images/zoe{number}", "")
    pages = iter_pages(s3)
    assert of_key(s3, INPUTS, "inputs/staff/images/zoe") == []
    assert len(pages) == 1


def iter_pages(s3: FakeS3) -> list[None]:
    """Gets an entry for every page that is read from now on."""
    read: list[None] = []
    paginate = s3.paginate

    def counted(Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        for page in paginate(Bucket, Prefix):
            read.append(None)
            yield page

    s3.paginate = counted  # type: ignore[method-assign]
    return read
