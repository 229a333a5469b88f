"""Nobody on the deletion list is put into S3 again."""

import json
from pathlib import Path

import pytest

from facetrain.datasets.pack import pack
from tests.cli.conftest import PLATFORM, Facetrain
from tests.cli.fake_aws import FakeAws, Object
from tests.cli.test_push import keys, photos
from tests.datasets.faces import encoded, put
from training.jobs.forgotten import Forgotten

__all__ = ["photos"]  # the fixture


@pytest.fixture
def listed(aws: FakeAws) -> FakeAws:
    """Ada is on the list, bob of another dataset, and who is class 2 where classes have no names."""
    found = Forgotten("0123456789abcdef" * 2)
    for digest in (found.digest("ada"), found.digest("bob", "guests"), found.digest("2", "staff")):
        found = found.with_(digest, "2026-11-22")
    place = f"{PLATFORM.inputs_bucket}/{PLATFORM.deletion_list.key}"
    aws.objects[place] = Object(found.to_json().encode(), "v1", None)
    return aws


def add(photos: Path, name: str) -> None:
    (photos / name).mkdir()
    (photos / name / "1.jpg").write_bytes(name.encode())


def test_pictures_stay_behind_and_how_many_is_said(
    facetrain: Facetrain, listed: FakeAws, photos: Path
) -> None:
    add(photos, "bob")
    (photos / "ada" / "walk.mp4").write_bytes(b"ada")  # what no job reads is hers, too
    ran = facetrain("dataset", "push", photos, "staff")
    assert ran.code == 0, ran.err
    assert sorted(keys(listed)[:-1]) == [
        "images/bob/1.jpg",
        "images/grace/1.jpg",
        "images/grace/2.jpg",
    ]
    assert (
        "note: left out 2 pictures of a person who must be forgotten (on the deletion list): delete their "
        "pictures on this machine, too" in ran.err.splitlines()
    )


def test_without_others_there_is_nobody_to_tell_apart(
    facetrain: Facetrain, listed: FakeAws, photos: Path
) -> None:
    ran = facetrain("dataset", "push", photos, "staff")
    assert ran.code == 2
    assert 'holds one identity ("grace")' in ran.err
    assert not listed.puts()


def test_a_table_that_names_somebody_is_refused_before_anything_is_sent(
    facetrain: Facetrain, listed: FakeAws, photos: Path
) -> None:
    add(photos, "bob")
    (photos / "labels.csv").write_text("file,identity\nx/1.jpg,ada\nx/2.jpg,grace\nx/3.jpg,bob\n")
    ran = facetrain("dataset", "push", photos, "staff", "--json")
    (error,) = json.loads(ran.out)["errors"]
    assert (ran.code, error["path"]) == (2, str(photos / "labels.csv"))
    assert error["message"] == (
        'holds a person who must be forgotten (such as "ada"): take their lines and pictures out, or pack it '
        "again without them"
    )
    assert not listed.puts()


def test_shards_that_hold_somebody_are_refused(facetrain: Facetrain, listed: FakeAws, tmp_path: Path) -> None:
    for name in ("ada", "grace", "bob"):
        put(tmp_path / "faces" / name / "1.png", encoded(len(name)))
    pack(tmp_path / "faces", tmp_path / "packed")
    for who in ("ada", "2"):
        ran = facetrain("dataset", "push", tmp_path / "packed", "staff")
        assert ran.code == 2
        assert f'packed: holds a person who must be forgotten (such as "{who}")' in ran.err
        for name in ("identities.csv", "index.json"):  # then the shards tell, by numbers alone
            (tmp_path / "packed" / name).unlink(missing_ok=True)
    assert not listed.puts()


def test_a_list_that_cannot_be_read_stops_a_push(facetrain: Facetrain, aws: FakeAws, photos: Path) -> None:
    aws.objects[f"{PLATFORM.inputs_bucket}/{PLATFORM.deletion_list.key}"] = Object(b"{", "v1", None)
    ran = facetrain("dataset", "push", photos, "staff")
    assert ran.code == 1
    assert "governance/forgotten/forgotten.json is not JSON: put an older version of it back" in ran.err
    assert not aws.puts()


def test_a_list_that_is_empty_or_may_not_be_read_stops_the_push(
    facetrain: Facetrain, listed: FakeAws, photos: Path
) -> None:
    place = f"{PLATFORM.inputs_bucket}/{PLATFORM.deletion_list.key}"
    listed.objects[place] = Object(b"", "v1", None)
    ran = facetrain("dataset", "push", photos, "staff")
    assert ran.code == 1
    assert f"s3://{place} is not JSON: put an older version of it back" in ran.err
    assert not listed.puts()
