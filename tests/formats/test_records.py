"""InsightFace's .rec and .idx, and what is said of those that are damaged or do not belong together."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.arcface.examples import picture
from tests.formats.by_mxnet import FACES, UNSORTED, WITHOUT_INDEX, Written
from tests.formats.test_shards import png
from training.arcface.data.store import Decoding, open_dataset
from training.arcface.distributed import World
from training.formats.errors import DataError
from training.formats.listing import find

MAGIC = struct.pack("<I", 0xCED7230A)


def record(data: bytes, labels: tuple[float, ...]) -> bytes:
    """As the original library writes it: several labels stand behind the header, and parts end at a magic."""
    flag, label = (0, labels[0]) if len(labels) == 1 else (len(labels), 0.0)
    body = struct.pack("<IfQQ", flag, label, 0, 0) + struct.pack(f"<{flag}f", *labels[:flag]) + data
    cuts = [at for at in range(0, len(body) - 3, 4) if body[at : at + 4] == MAGIC]
    if not cuts:
        return chunk(0, body)
    starts, ends = [0, *(cut + 4 for cut in cuts)], [*cuts, len(body)]
    kinds = [1, *([2] * (len(cuts) - 1)), 3]
    parts = zip(kinds, starts, ends, strict=True)
    return b"".join(chunk(kind, body[start:end]) for kind, start, end in parts)


def chunk(kind: int, data: bytes) -> bytes:
    return MAGIC + struct.pack("<I", kind << 29 | len(data)) + data + bytes(-len(data) % 4)


def write(folder: Path, records: Mapping[int, bytes], *, index: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    offsets, position = [], 0
    for key, data in records.items():
        offsets.append(f"{key}\t{position}\n")
        position += len(data)
    (folder / "train.rec").write_bytes(b"".join(records.values()))
    if index:
        (folder / "train.idx").write_text("".join(reversed(offsets)))  # not always sorted
    return folder


def faces() -> dict[int, bytes]:
    """Two identities with two images each, and the records that say so; the labels have a gap."""
    images = {
        1: record(png(0, 0), (0.0,)),
        2: record(png(0, 1), (0.0,)),
        3: record(png(1, 0), (7.0, 0.5)),
        4: record(png(1, 1) + MAGIC * 2 + b"tail", (7.0,)),
    }
    return {0: record(b"", (5.0, 7.0)), **images, 5: record(b"", (1.0, 3.0)), 6: record(b"", (3.0, 5.0))}


@pytest.mark.parametrize("index", [True, False])
def test_the_images_of_a_rec_are_read_with_their_identities(tmp_path: Path, index: bool) -> None:
    listing = find(write(tmp_path / "images", faces(), index=index), None)
    assert listing.files == ("train.rec/1", "train.rec/2", "train.rec/3", "train.rec/4")
    assert listing.identities == ("0", "7")
    assert listing.labels.tolist() == [0, 0, 1, 1]
    dataset, report = open_dataset(listing, World(), Decoding(tmp_path))
    assert report.unreadable == ()
    pixels, _ = dataset.images.take(np.array([3, 0, 2]))
    assert (pixels == np.stack([picture(1, 1), picture(0, 0), picture(1, 0)])).all()


def test_bytes_that_look_like_the_magic_number_come_back(tmp_path: Path) -> None:
    data = bytes(4) + MAGIC + b"middle--" + MAGIC + MAGIC + b"end"
    found = find(write(tmp_path, {0: record(data, (0.0,)), 1: record(b"x", (1.0,))}), None)
    assert found.reader().read(0) == data


def test_a_first_record_without_a_flag_is_an_ordinary_image(tmp_path: Path) -> None:
    found = find(write(tmp_path, {0: record(b"x", (0.0,)), 1: record(b"y", (1.0,))}), None)
    assert [found.reader().read(index) for index in range(2)] == [b"x", b"y"]


@pytest.mark.parametrize("written", [FACES, UNSORTED, WITHOUT_INDEX])
@pytest.mark.parametrize("index", [True, False])
def test_what_the_original_library_wrote_is_read_record_for_record(
    tmp_path: Path, written: Written, index: bool
) -> None:
    folder = written.put(tmp_path)
    wanted = list(written.images)
    if not index and (folder / "train.idx").exists():
        (folder / "train.idx").unlink()
        if written is UNSORTED:  # without an index a key is a record's place
            wanted = [(place, label, data) for place, (_, label, data) in enumerate([wanted[2], *wanted[:2]])]
    found = find(folder, None)
    reader = found.reader()
    assert [
        (int(file.partition("/")[2]), found.identities[found.labels[i]], reader.read(i))
        for i, file in enumerate(found.files)
    ] == wanted


def test_numbers_get_their_names_from_the_table_beside_the_records(tmp_path: Path) -> None:
    write(tmp_path, faces())
    (tmp_path / "identities.csv").write_text("class,identity\n0,anna\n7,ben\n")
    assert find(tmp_path, None).identities == ("anna", "ben")


def damaged(folder: Path, how: str) -> None:
    rec, idx = folder / "train.rec", folder / "train.idx"
    data, lines = rec.read_bytes(), idx.read_text().splitlines()
    if how == "cut":
        rec.write_bytes(data[:-300])
        idx.write_text("\n".join(lines[2:]))
    elif how == "empty":
        rec.write_bytes(b"")
        idx.unlink()
    elif how == "shifted":
        idx.write_text("\n".join(f"{line[:2]}{int(line[2:]) + (line[0] == '2') * 4}" for line in lines))
    elif how == "missing":
        idx.write_text("\n".join(line for line in lines if line[0] != "3"))
    elif how == "behind":
        idx.write_text("\n".join([*lines, f"9\t{len(data)}"]))
    elif how == "twice":
        idx.write_text("\n".join([*lines, lines[0]]))
    elif how == "text":
        idx.write_text("one\ttwo\n")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", r"channels\.images: train\.rec is cut short: record 4 ends at byte "),
        ("empty", r"channels\.images: train\.rec is empty"),
        ("shifted", r"channels\.images: train\.rec: record 2 at byte [\d,]+ begins with no magic number"),
        ("missing", r"channels\.images: train\.rec: 1 of its 4 images have no line in train\.idx"),
        ("behind", r"train\.idx line 8 points behind the end of channels\.images: train\.rec"),
        ("twice", r"train\.idx line 8 has the key of a line above"),
        ("text", r"train\.idx line 1: not a key and an offset"),
    ],
)
def test_a_damaged_rec_or_an_idx_of_another_is_refused(tmp_path: Path, how: str, message: str) -> None:
    damaged(write(tmp_path, faces()), how)
    with pytest.raises(DataError, match=message):
        find(tmp_path, None)


def test_a_table_beside_records_is_said_not_to_be_read(tmp_path: Path) -> None:
    write(tmp_path, faces())
    (tmp_path / "labels.csv").write_text("file,identity\n1.jpg,anna\n")
    assert find(tmp_path, None).notes == ("record_files=1", "labels_table_not_read=1")
