"""`dataset check` on what nobody should have: a sentence each, and nothing outside is opened."""

import json
import struct
import zlib
from pathlib import Path

import pytest

from facetrain.datasets.check.report import LISTED
from facetrain.datasets.pack import pack
from facetrain.errors import InputError
from tests.datasets.faces import encoded, people, put
from tests.datasets.test_check import checked
from tests.formats import test_records as rec
from tests.formats.test_shards import shard


def gigapixels(side: int = 60_000) -> bytes:
    """A PNG of a few bytes that would become 10 GB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def test_a_picture_of_gigapixels_is_not_decoded(tmp_path: Path) -> None:
    people(tmp_path, {"anna": 2, "ben": 2})
    put(tmp_path / "anna" / "bomb.png", gigapixels())
    (one,) = checked(tmp_path)["unreadable_files"]
    assert one == {
        "channel": "images",
        "file": "anna/bomb.png",
        "reason": "has more pixels than any photograph",
    }


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", r"train\.rec is cut short: record 4 ends at byte .*: upload it again"),
        ("missing", r"train\.rec: 1 of its 4 images have no line in train\.idx"),
        ("shifted", r"record 2 at byte [\d,]+ begins with no magic number: .*its \.idx belongs to another"),
    ],
)
def test_a_rec_that_is_cut_short_or_disagrees_with_its_idx_is_refused(
    tmp_path: Path, how: str, message: str
) -> None:
    rec.damaged(rec.write(tmp_path, rec.faces()), how)
    with pytest.raises(InputError, match=message):
        checked(tmp_path)


def test_a_packed_dataset_that_changed_since_harms(tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    pack(people(tmp_path / "photos", {"anna": 2, "ben": 2}), packed)
    assert checked(packed)["index"] == {"files": 2, "damaged": 0, "listed": []}
    path = packed / "000000.tar"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # behind the last image: the trainer would not see it
    path.write_bytes(data)
    report = checked(packed)
    (one,) = report["index"]["listed"]
    assert one == {"name": "000000.tar", "reason": "has another SHA-256 than index.json says"}
    assert report["harm"] == ["1 file not as the index says: copy again, or pack the dataset anew"]


def test_a_validation_shard_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    people(tmp_path / "images", {"anna": 2, "ben": 2})
    path = shard(tmp_path / "validation" / "0.tar", {"a.png": encoded(1), "a.cls": b"carl"})
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match=r"channels\.validation: 0\.tar is cut short"):
        checked(tmp_path)


def test_a_verification_set_that_runs_code_is_refused(tmp_path: Path) -> None:
    people(tmp_path / "images", {"anna": 2, "ben": 2})
    put(tmp_path / "validation" / "lfw.bin", b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(InputError, match=r"lfw\.bin asks for os\.system.*nothing was run"):
        checked(tmp_path)


def test_names_with_blanks_and_of_any_language_are_fine(tmp_path: Path) -> None:
    report = checked(people(tmp_path, {"anna b. berg": 2, "Ольга": 2, "李 明": 2, "zoë's": 2}))
    assert (report["images"], report["identities"], report["unreadable"]) == (8, 4, 0)
    assert report["names"]["count"] == 0


def test_names_of_folders_that_end_with_a_blank_are_named(tmp_path: Path) -> None:
    (one,) = checked(people(tmp_path, {"anna ": 2, "ben": 2}))["names"]["listed"]
    assert one == {"name": "anna ", "reason": "begins or ends with a blank"}


def test_a_name_with_a_control_character_is_refused(tmp_path: Path) -> None:
    people(tmp_path, {"anna": 2, "ben\x1b[2J": 2})
    with pytest.raises(InputError, match=r"its name has control characters or is no UTF-8: rename it"):
        checked(tmp_path)


def test_archives_that_climb_are_read_in_place_and_named(tmp_path: Path) -> None:
    members = {
        "../../up.png": encoded(1),
        "../../up.cls": b"../anna",
        "b.png": encoded(2),
        "b.cls": b"\x1b]0;ben\x07",
    }
    shard(tmp_path / "data" / "0.tar", members)
    found = {one["name"]: one["reason"] for one in checked(tmp_path / "data")["names"]["listed"]}
    assert found["../anna"] == "cannot be the name of a folder"
    assert found["\x1b]0;ben\x07"] == "has characters that cannot be seen"
    assert found["0.tar/../../up.png"].startswith("leads out of its folder")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["0.tar", "data"]


def test_a_table_cannot_name_files_outside(tmp_path: Path) -> None:
    put(tmp_path / "secret.png", encoded(9))
    folder = people(tmp_path / "data", {"x": 3})
    (folder / "labels.csv").write_text("file,identity\n../secret.png,eve\nx/0.png,anna\nx/1.png,ben\n")
    report = checked(folder)
    assert (report["images"], report["identities"]) == (2, 2)
    assert report["listing"]["labels_without_image"] == 1


def test_a_link_out_of_the_folder_is_not_opened(tmp_path: Path) -> None:
    put(tmp_path / "secret.png", encoded(9))
    folder = people(tmp_path / "data", {"anna": 2, "ben": 2})
    (folder / "anna" / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "anna" / "inside.png").symlink_to(folder / "anna" / "0.png")
    (folder / "everything").symlink_to(tmp_path)
    report = checked(folder)
    assert report["unreadable_files"] == [
        {
            "channel": "images",
            "file": "anna/link.png",
            "reason": "is a link out of the folder: copy the file",
        }
    ]
    assert report["duplicates"] == 1
    assert report["listing"] == {"folder_links_not_followed": 1}


def test_a_shard_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = shard(tmp_path / "0.tar", {"a.png": encoded(1), "a.cls": b"carl"})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "0.tar").symlink_to(path)
    with pytest.raises(InputError, match=r"0\.tar is a link out of the folder: copy the file"):
        checked(tmp_path / "data")


def test_a_manifest_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    people(tmp_path / "others", {"anna": 2, "ben": 2})
    (tmp_path / "data").mkdir()
    for place in ("../others/", "s3://elsewhere/images/"):
        (tmp_path / "data" / "manifest.json").write_text(json.dumps({"channels": {"images": place}}))
        with pytest.raises(InputError, match=r"channels\.images: .* is no folder on this machine"):
            checked(tmp_path / "data")


def test_ten_thousand_files_of_one_identity_outweigh_the_others(tmp_path: Path) -> None:
    people(tmp_path, {"anna": 1, "ben": 2, "carl": 1})
    first = put(tmp_path / "crowd" / "0.jpg", encoded(9, "JPEG"))
    for number in range(1, 10_000):
        (tmp_path / "crowd" / f"{number}.jpg").hardlink_to(first)
    report = checked(tmp_path)
    assert report["images_per_identity"]["max"] == 10_000
    assert report["images_per_identity"]["histogram"][-1] == {"images": "1000+", "identities": 1}
    assert report["duplicates"] == 9_999
    (group,) = report["duplicate_groups"]["listed"]
    assert (group["images"], len(group["files"])) == (10_000, 20)
    assert "one identity has 10,000 images: keep some of them" in report["advice"]
    assert "small files are slow to download: pack them (facetrain dataset pack)" in report["advice"]


def test_details_are_listed_up_to_a_limit_and_counted_in_full(tmp_path: Path) -> None:
    people(tmp_path, {"anna": 1, "ben": 1})
    for number in range(LISTED + 5):
        put(tmp_path / "carl" / f"{number}.png", b"")
    report = checked(tmp_path)
    assert report["unreadable"] == LISTED + 5
    assert len(report["unreadable_files"]) == LISTED


def test_a_class_number_of_four_billion_takes_no_memory(tmp_path: Path) -> None:
    shard(
        tmp_path / "0.tar", {"a.png": encoded(1), "a.cls": b"4294967295", "b.png": encoded(2), "b.cls": b"0"}
    )
    gaps = checked(tmp_path)["class_gaps"]
    assert (gaps["classes"], gaps["missing"], len(gaps["first"])) == (4294967296, 4294967294, 20)
