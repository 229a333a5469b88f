"""Shards and .rec files lose the person and nobody else; what is cut off is finished by the next run."""

import copy
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetrain.datasets.index import damaged, read_index
from facetrain.datasets.pack import pack
from facetrain.errors import OperationError
from facetrain.forgetting.removal import remove_from_inputs
from tests.forgetting.fake_s3 import FakeS3
from tests.forgetting.photos import (
    INPUTS,
    download,
    drop,
    find,
    folders,
    forget,
    labelled,
    picture,
    put,
    rec,
    shard,
    traces,
)
from training.formats import listing


def photo(seed: int) -> bytes:
    made = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(made, "PNG")
    return made.getvalue()


def packed(
    s3: FakeS3, tmp_path: Path, people: tuple[str, ...] = ("ada", "bob", "zoe"), images: int = 4
) -> None:
    """A dataset as `dataset pack` and `push` leave it in S3, in several shards."""
    source, destination = tmp_path / f"src{len(people)}", tmp_path / f"packed{len(people)}"
    for who in people:
        (source / who).mkdir(parents=True)
        for number in range(images):
            (source / who / f"{number}.png").write_bytes(
                photo(sum(map(ord, who)) * 100 + number) + who.encode()
            )
    pack(source, destination, shard_bytes=8_000)
    for path in destination.iterdir():
        put(s3, f"images/{path.name}", path.read_bytes())
    drop(s3)


def pictures_in(s3: FakeS3, to: Path) -> dict[str, set[bytes]]:
    """By identity, as the trainer reads the channel."""
    found = listing.find(download(s3, "inputs/staff/images/", to), None)
    reader = found.reader()
    every: dict[str, set[bytes]] = {}
    for index, label in enumerate(found.labels):
        every.setdefault(found.identities[label], set()).add(reader.read(index))
    return every


def test_shards_are_written_anew_without_the_person_and_the_index_is_right(
    s3: FakeS3, aside: Path, tmp_path: Path
) -> None:
    packed(s3, tmp_path)
    before = pictures_in(s3, tmp_path / "before")
    done = forget(s3, aside)
    assert traces(s3) == []
    assert done.left == []
    after = pictures_in(s3, tmp_path / "after")
    assert after == {who: before[who] for who in ("ada", "bob")}
    index = read_index(tmp_path / "after")
    assert index is not None
    assert (index.images, index.identities) == (8, 2)
    assert not list(damaged(tmp_path / "after", index))


def test_numbers_mean_whom_the_table_of_their_time_says(s3: FakeS3, aside: Path, tmp_path: Path) -> None:
    packed(s3, tmp_path, ("bob", "zoe"))  # zoe is 1
    packed(s3, tmp_path, ("ada", "bob", "zoe"))  # bob is 1 now, zoe 2
    before = pictures_in(s3, tmp_path / "before")
    forget(s3, aside)
    assert traces(s3) == []
    assert pictures_in(s3, tmp_path / "after") == {who: before[who] for who in ("ada", "bob")}


def test_shards_of_other_tools_name_people_in_texts_and_json(s3: FakeS3, aside: Path, tmp_path: Path) -> None:
    put(s3, "images/a.tar", shard([("ada/1", "ada", picture("ada", 1)), ("zoe/1", "zoe", picture("zoe", 1))]))
    put(s3, "images/b.tar", shard([("zoe/2", "zoe", picture("zoe", 2))]))
    drop(s3)
    forget(s3, aside)
    assert traces(s3) == []
    assert pictures_in(s3, tmp_path / "after") == {"ada": {picture("ada", 1)}}


def test_a_table_names_what_lies_in_shards(s3: FakeS3, aside: Path, tmp_path: Path) -> None:
    put(s3, "images/a.tar", shard([("0", "", picture("ada", 1)), ("1", "", picture("zoe", 1))]))
    put(s3, "labels.csv", "file,identity\na.tar/0.jpg,ada\n1,zoe\n")
    drop(s3, labels="labels.csv")
    forget(s3, aside)
    assert traces(s3) == []


def test_an_older_shard_does_not_come_to_light_when_the_last_was_all_theirs(s3: FakeS3, aside: Path) -> None:
    put(s3, "images/a.tar", shard([("ada/1", "ada", picture("ada", 1))]))
    put(s3, "images/a.tar", shard([("zoe/1", "zoe", picture("zoe", 1))]))
    drop(s3)
    forget(s3, aside)
    assert [stored.body is None for stored in s3.objects[INPUTS, "inputs/staff/images/a.tar"]] == [
        False,
        True,
    ]
    assert traces(s3) == []


@pytest.mark.parametrize("index", [True, False])
def test_a_rec_is_written_anew_and_reads_record_for_record(
    s3: FakeS3, aside: Path, tmp_path: Path, index: bool
) -> None:
    records, lines = rec(
        {3: [picture("ada", 1)], 17: [picture("zoe", n) for n in (1, 2)], 20: [picture("bob", 1)]}
    )
    put(s3, "images/train.rec", records)
    if index:
        put(s3, "images/train.idx", lines)
    drop(s3)
    found = find(s3, aside, "17")
    assert [(place.kind, place.count) for place in found.places] == [("records", 2)]
    remove_from_inputs(s3, found, aside)
    assert traces(s3) == []
    expected = rec({3: [picture("ada", 1)], 20: [picture("bob", 1)]})
    assert s3.body(INPUTS, "inputs/staff/images/train.rec") == expected[0]
    if index:
        assert s3.body(INPUTS, "inputs/staff/images/train.idx") == expected[1]
    assert pictures_in(s3, tmp_path / "after") == {"3": {picture("ada", 1)}, "20": {picture("bob", 1)}}


def test_shards_that_never_named_the_person_are_not_read(s3: FakeS3, aside: Path, tmp_path: Path) -> None:
    packed(s3, tmp_path, ("ada", "bob"))
    folders(s3, "loose")
    s3.denied.add("GetObject of .tar")
    assert find(s3, aside).datasets == ["loose"]


def test_a_shard_that_somebody_put_beside_them_takes_none_from_the_index(
    s3: FakeS3, aside: Path, tmp_path: Path
) -> None:
    packed(s3, tmp_path, ("ada", "bob"))
    put(s3, "images/own.tar", shard([("1", "ada", photo(1)), ("2", "zoe", picture("zoe", 2))]))
    index = s3.body(INPUTS, "inputs/staff/images/index.json")
    forget(s3, aside)
    assert traces(s3) == []
    assert s3.body(INPUTS, "inputs/staff/images/index.json") == index
    assert s3.versions(INPUTS, "inputs/staff/images/own.tar") == 1


def test_of_the_last_person_no_name_stays(s3: FakeS3, aside: Path, tmp_path: Path) -> None:
    people = ("tom", "una", "zoe")  # no digest spells these
    packed(s3, tmp_path, people)
    for who in people:
        assert forget(s3, aside, who).left == []
        assert traces(s3, who) == []
    index = read_index(download(s3, "inputs/staff/images/", tmp_path / "after"))
    assert index is not None
    assert (index.images, index.identities, index.shards, index.tables) == (0, 0, (), ())


@pytest.mark.parametrize(
    "index", ['{"format": "facetrain-shards", "version": 1}', '{"shards": [{}]}', "[" * 100_000, "[]"]
)
def test_an_index_that_is_none_of_ours_stays_as_it_is(s3: FakeS3, aside: Path, index: str) -> None:
    put(s3, "images/a.tar", shard([("1", "ada", photo(1)), ("2", "zoe", picture("zoe", 2))]))
    put(s3, "images/identities.csv", "class,identity\n0,ada\n")
    put(s3, "images/index.json", index)
    drop(s3)
    forget(s3, aside)
    assert traces(s3) == []
    assert s3.body(INPUTS, "inputs/staff/images/index.json") == index.encode()


def test_numbers_that_nobody_can_read_stop_everything(s3: FakeS3, aside: Path) -> None:
    put(s3, "images/a.tar", shard([("1", "0", picture("zoe", 1))]))
    put(s3, "images/identities.csv", "class,identity\n0," + "z" * 200_000)
    drop(s3)
    with pytest.raises(OperationError, match=r"images/identities.csv cannot be read \(field larger"):
        find(s3, aside)


def test_a_label_that_is_nested_without_end_names_nobody(s3: FakeS3, aside: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        member = tarfile.TarInfo("1.json")
        member.size = 60_000
        tar.addfile(member, io.BytesIO(b"[" * member.size))
    put(s3, "images/a.tar", made.getvalue())
    drop(s3)
    assert find(s3, aside).places == []


def test_a_damaged_shard_is_told_and_nothing_is_claimed_of_it(s3: FakeS3, aside: Path) -> None:
    put(
        s3,
        "images/a.tar",
        shard([("ada/1", "ada", picture("ada", 1)), ("zoe/1", "zoe", picture("zoe", 1))])[:900],
    )
    drop(s3)
    (left,) = forget(s3, aside).left
    assert left.key == "inputs/staff/images/a.tar"
    assert "cut short" in left.why


# -- permissions, kills --------------------------------------------------------------------------------------


def test_a_permission_that_lacks_is_told_and_tables_stay_for_the_next_run(s3: FakeS3, aside: Path) -> None:
    labelled(s3, "file,identity\n000000.jpg,ada\n000001.jpg,zoe\n000003.jpg,zoe\n")
    s3.denied.add("DeleteObjectVersion")
    done = forget(s3, aside)
    assert (done.objects, done.versions, done.bytes) == (0, 0, 0)
    assert [(left.kind, left.why) for left in done.left] == [
        ("picture", "AccessDenied"),
        ("picture", "AccessDenied"),
        ("labels", "waits for what is left of its dataset"),
    ]
    s3.denied.clear()
    forget(s3, aside)
    assert traces(s3) == []


def everything(s3: FakeS3, tmp_path: Path) -> None:
    packed(s3, tmp_path)
    s3.put(INPUTS, "inputs/celeb/images/1.jpg", picture("zoe", 1))
    s3.put(INPUTS, "inputs/celeb/images/2.jpg", picture("ada", 2))
    s3.put(INPUTS, "inputs/celeb/images/copy.jpg", picture("zoe", 1))
    s3.put(INPUTS, "inputs/celeb/labels.csv", b"file,identity\n1.jpg,zoe\n2.jpg,ada\n")
    s3.put(INPUTS, "inputs/celeb/landmarks.csv", b"file,x1\n1.jpg,3\n2.jpg,3\n")
    drop(s3, "celeb", labels="labels.csv")
    records, lines = rec({0: [picture("zoe", 5)], 1: [picture("bob", 5)]})
    s3.put(INPUTS, "inputs/rec/images/identities.csv", b"class,identity\n0,zoe\n1,bob\n")
    s3.put(INPUTS, "inputs/rec/images/train.rec", records)
    s3.put(INPUTS, "inputs/rec/images/train.idx", lines)
    drop(s3, "rec")


def now(s3: FakeS3) -> dict[tuple[str, str], bytes | None]:
    return {place: history[-1].body for place, history in s3.objects.items()}


def test_a_kill_at_any_change_leaves_a_state_from_which_the_next_run_finishes(
    s3: FakeS3, aside: Path, tmp_path: Path
) -> None:
    everything(s3, tmp_path)
    whole = copy.deepcopy(s3)
    forget(whole, aside)
    assert traces(whole) == []
    assert whole.changes > 15
    for after in range(whole.changes):
        killed = copy.deepcopy(s3)
        killed.after = after
        with pytest.raises(KeyboardInterrupt):
            forget(killed, aside)
        killed.after = None
        forget(killed, aside)
        assert traces(killed) == [], f"killed after {after} changes"
        assert now(killed) == now(whole), f"killed after {after} changes"
    assert not find(whole, aside).places
