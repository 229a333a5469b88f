"""`dataset pack` and `unpack`: what goes in comes out, byte for byte, and the same on every machine."""

import csv
import hashlib
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from facetrain.datasets import unpack as unpacking
from facetrain.datasets.index import damaged, read_index
from facetrain.datasets.pack import pack
from facetrain.datasets.shard_writer import header
from facetrain.datasets.unpack import unpack
from tests.formats.test_records import record
from tests.formats.test_records import write as write_rec
from tests.formats.test_shards import png
from training.formats.listing import find

Content = Counter[tuple[str, bytes]]


def write_folders(root: Path, identities: list[str], images: int = 3, suffix: str = ".png") -> Path:
    for who, identity in enumerate(identities):
        for number in range(images):
            path = root / identity / f"{number}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(who, number))
    return root


def content(root: Path) -> Content:
    """How often each identity has each image, as the trainer's reader finds them."""
    found = find(root, None)
    reader = found.reader()
    return Counter((found.identities[found.labels[index]], reader.read(index)) for index in range(len(found)))


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    "identities",
    [
        ["anna"],
        ["anna", "ben"],
        [f"p{number}" for number in range(40)],
        ["Anna Lee", "Zoë", "王芳", 'o\'neil, "x"', "a.b.c", "anna%2F..", "-rf"],
        ["0", "7", "12"],
        [f"{'long' * 40}{number}" for number in range(2)],
    ],
    ids=["one", "two", "many", "odd", "numbers", "long"],
)
def test_folders_come_back_as_they_were(tmp_path: Path, identities: list[str]) -> None:
    source = write_folders(tmp_path / "photos", identities)
    pack(source, tmp_path / "packed", shard_bytes=20_000)
    done = unpack(tmp_path / "packed", tmp_path / "back")
    assert tree(tmp_path / "back") == tree(source)
    assert content(tmp_path / "packed") == content(source)
    assert (done.images, done.identities, done.renamed, done.verified) == (
        3 * len(identities),
        len(identities),
        {},
        True,
    )


def test_the_same_images_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        source = write_folders(tmp_path / name / "photos", ["anna", "ben", "zoë"], 8)
        pack(source, tmp_path / name / "packed", seed=3, shard_bytes=30_000)
    assert tree(tmp_path / "one" / "packed") == tree(tmp_path / "two" / "packed")


def test_the_bytes_of_a_shard_are_those_of_every_other_machine(tmp_path: Path) -> None:
    for who in ("anna", "ben", "zoë"):
        (tmp_path / "photos" / who).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "photos" / who / f"{number}.gif").write_bytes(b"GIF89a" + bytes([number]) * 700)
    index = pack(tmp_path / "photos", tmp_path / "packed", seed=1).index
    # Of this code on Linux with Python 3.11 and NumPy 2: a change of it is a change of everybody's datasets.
    assert index.shards[0].sha256 == "1a9c43606432d56c2883857f556b121da7d145cb4f03297a38e17324ddcf1529"


@pytest.mark.parametrize("size", [0, 1, 511, 8**11 - 1, 8**11])
@pytest.mark.parametrize(
    "name", ["a.jpg", "anna lee/1.cls", "a" * 100, "a" * 101, f"{'a' * 90}/{'b' * 90}", "zoë.jpg"]
)
def test_headers_are_those_of_the_standard_library(name: str, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    assert header(name, size) == member.tobuf(tarfile.PAX_FORMAT)


def test_another_seed_is_another_order_of_the_same_images(tmp_path: Path) -> None:
    source = write_folders(tmp_path / "photos", ["anna", "ben"], 10)
    names = []
    for seed in (0, 1):
        pack(source, tmp_path / str(seed), seed=seed)
        with tarfile.open(tmp_path / str(seed) / "000000.tar") as shard:
            names.append(shard.getnames())
    assert names[0] != names[1]
    assert sorted(names[0]) == sorted(names[1])


def test_each_shard_is_a_mixture_and_none_is_larger_than_asked(tmp_path: Path) -> None:
    source = write_folders(tmp_path / "photos", ["anna", "ben", "cem"], 40)
    index = pack(source, tmp_path / "packed", shard_bytes=400_000).index
    assert len(index.shards) > 3
    assert max(shard.bytes for shard in index.shards) <= 400_000
    found = find(tmp_path / "packed", None)
    assert found.spans is not None
    for shard in range(len(index.shards) - 1):
        assert len(set(found.labels[found.spans.shard == shard].tolist())) == 3


def test_one_image_larger_than_a_shard_has_a_shard_of_its_own(tmp_path: Path) -> None:
    source = write_folders(tmp_path / "photos", ["anna", "ben"], 2)
    index = pack(source, tmp_path / "packed", shard_bytes=1024).index
    assert [shard.images for shard in index.shards] == [1, 1, 1, 1]
    assert content(tmp_path / "packed") == content(source)


def test_the_index_tells_size_and_checksum_of_every_file(tmp_path: Path) -> None:
    source = write_folders(tmp_path / "photos", ["anna", "ben"], 10)
    packed = tmp_path / "packed"
    written = pack(source, packed, shard_bytes=200_000).index
    index = read_index(packed)
    assert index == written
    assert {file.name for file in index.files()} | {"index.json"} == {path.name for path in packed.iterdir()}
    for file in index.files():
        data = (packed / file.name).read_bytes()
        assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert list(damaged(packed, index)) == []


def test_a_rec_keeps_its_images_and_labels(tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    faces = {key: record(png(key % 3, key), (float(key % 3 + 5),)) for key in range(1, 10)}
    write_rec(tmp_path / "rec", {0: record(b"", (10.0, 13.0)), **faces})
    before = content(tmp_path / "rec")
    assert sorted({who for who, _ in before}) == ["5", "6", "7"]
    pack(tmp_path / "rec" / "train.rec", tmp_path / "packed")
    assert content(tmp_path / "packed") == before
    with tarfile.open(tmp_path / "packed" / "000000.tar") as shard:  # numbers stay the record's own
        assert {shard.extractfile(name).read() for name in shard.getnames() if name.endswith(".cls")} == {  # type: ignore[union-attr]
            b"5",
            b"6",
            b"7",
        }
    unpack(tmp_path / "rec", tmp_path / "folders")
    assert content(tmp_path / "folders") == before
    assert (tmp_path / "folders" / "6" / "1.png").is_file()


def test_shards_are_packed_again_into_others(tmp_path: Path) -> None:
    source = write_folders(tmp_path / "photos", ["anna", "ben"], 6)
    pack(source, tmp_path / "small", shard_bytes=60_000)
    pack(tmp_path / "small", tmp_path / "large", seed=5)
    assert len(list((tmp_path / "large").glob("*.tar"))) == 1
    unpack(tmp_path / "large", tmp_path / "back")
    assert tree(tmp_path / "back") == tree(source)


def test_one_shard_can_be_unpacked_alone(tmp_path: Path) -> None:
    source = write_folders(tmp_path / "photos", ["anna", "ben"], 6)
    index = pack(source, tmp_path / "packed", shard_bytes=60_000).index
    done = unpack(tmp_path / "packed" / "000001.tar", tmp_path / "back")
    assert done.images == index.shards[1].images
    assert tree(tmp_path / "back").items() <= tree(source).items()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "file,identity\na/1.png,anna\na/2.png,ben\nb/1.png,ben\n"),
        ("identity_CelebA.txt", "a/1.png 2880\na/2.png 17\nb/1.png 17\n"),
    ],
)
@pytest.mark.parametrize("beside", [True, False])
def test_tables_say_whose_images_are(tmp_path: Path, name: str, text: str, beside: bool) -> None:
    source = write_folders(tmp_path / "photos", ["a", "b"])
    table = (source if beside else tmp_path) / name
    table.write_text(text)
    done = pack(source, tmp_path / "packed", None if beside else table)
    named = dict(line.replace(",", " ").split() for line in text.splitlines() if line[1] == "/")
    assert content(tmp_path / "packed") == Counter(
        (who, (source / file).read_bytes()) for file, who in named.items()
    )
    assert "images_without_label=3" in done.notes


def test_images_of_one_key_are_told_apart(tmp_path: Path) -> None:
    source = write_folders(tmp_path / "photos", ["anna", "ben"], 2)
    (source / "anna" / "0.jpg").write_bytes((source / "ben" / "0.png").read_bytes())
    (source / "anna" / "a.b.png").write_bytes(png(5, 5))
    (source / "anna" / "a_b.png").write_bytes(png(5, 6))
    pack(source, tmp_path / "packed")
    assert content(tmp_path / "packed") == content(source)


def test_a_verification_file_becomes_pictures_and_pairs(tmp_path: Path) -> None:
    import pickle  # noqa: PLC0415

    from training.arcface.verification.sets import of_bin  # noqa: PLC0415
    from training.formats.lists import read_pairs_table  # noqa: PLC0415

    pictures = [png(who, number) for who in range(6) for number in range(2)]
    order = [0, 1, 2, 3, 0, 2, 4, 5, 6, 7, 4, 6, 8, 9, 10, 11, 8, 10, 1, 3, 5, 7, 9, 11]
    same = [True, True, False] * 3 + [False, False, False]
    path = tmp_path / "lfw.bin"
    path.write_bytes(pickle.dumps(([pictures[number] for number in order], same)))
    done = unpacking.unpack_pairs(path, tmp_path / "lfw")
    listed = read_pairs_table(tmp_path / "lfw" / "pairs.csv")
    expected = of_bin("lfw", path)
    assert done.images == 12
    read = [
        [(tmp_path / "lfw" / str(file)).read_bytes() for file in side]
        for side in (listed.first, listed.second)
    ]
    assert read == [[pictures[n] for n in order[0::2]], [pictures[n] for n in order[1::2]]]
    assert listed.same.tolist() == same
    assert listed.folds is not None
    assert expected.folds is not None
    assert len(set(zip(listed.folds.tolist(), expected.folds.tolist(), strict=True))) == 10


def test_identities_csv_names_the_classes(tmp_path: Path) -> None:
    pack(write_folders(tmp_path / "photos", ["anna", "Zoë, x"]), tmp_path / "packed")
    with (tmp_path / "packed" / "identities.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["class", "identity"], ["0", "Zoë, x"], ["1", "anna"]]
