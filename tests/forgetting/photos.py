"""Datasets of two or three people for the tests: bytes that are nobody's but the picture's, in any layout."""

import io
import json
import struct
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from facetrain.forgetting import inputs
from facetrain.forgetting.places import Found
from facetrain.forgetting.removal import Removed, remove_from_inputs
from tests.forgetting.fake_s3 import FakeS3
from tests.formats.test_records import chunk
from training.jobs.platform import Platform

PLATFORM = Platform.example()
INPUTS, OUTPUTS = PLATFORM.inputs_bucket, PLATFORM.outputs_bucket
PEOPLE = ("ada", "bob", "zoe")


def picture(who: str, number: int) -> bytes:
    """What stands for a photo; to be found wherever it lies."""
    return b"\xff\xd8\xff" + f"<the face of {who}, {number}>".encode() * 3


def folders(s3: FakeS3, dataset: str = "staff", people: Iterable[str] = PEOPLE, images: int = 2) -> None:
    for who in people:
        for number in range(images):
            s3.put(INPUTS, f"inputs/{dataset}/images/{who}/{number}.jpg", picture(who, number))
    drop(s3, dataset)


def drop(s3: FakeS3, dataset: str = "staff", **channels: str) -> None:
    document = {"schema": 1, "algorithm": "arcface", "channels": {"images": "images/"} | channels}
    s3.put(INPUTS, f"inputs/{dataset}/manifest.json", json.dumps(document).encode())


def shard(samples: Iterable[tuple[str, str, bytes]]) -> bytes:
    """Of (key, label, image): as other tools write them, with a folder's entry before its first file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for key, label, image in samples:
            folder = tarfile.TarInfo(key.rpartition("/")[0] or "all")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            for name, data in ((f"{key}.jpg", image), (f"{key}.cls", label.encode())):
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(data), 1_700_000_000.5
                tar.addfile(member, io.BytesIO(data))
    return made.getvalue()


def rec(identities: Mapping[int, list[bytes]]) -> tuple[bytes, bytes]:
    """train.rec and train.idx in InsightFace's layout."""
    images = [(number, data) for number, pictures in identities.items() for data in pictures]
    records, ranges, key = [], [], 1
    for number, data in images:
        records.append(chunk(0, struct.pack("<IfQQ", 0, number, 0, 0) + data))
    for pictures in identities.values():
        ranges.append(_labels(key, key + len(pictures)))
        key += len(pictures)
    whole = [_labels(key, key + len(ranges)), *records, *ranges]
    lines, at = [], 0
    for place, record in enumerate(whole):
        lines.append(f"{place}\t{at}\n")
        at += len(record)
    return b"".join(whole), "".join(lines).encode()


def _labels(first: int, second: int) -> bytes:
    return chunk(0, struct.pack("<IfQQ2f", 2, 0.0, 0, 0, first, second))


def find(s3: FakeS3, aside: Path, who: str = "zoe", dataset: str = "*") -> Found:
    return inputs.find(s3, PLATFORM, who, dataset=dataset, aside=aside, note=lambda _: None)


def forget(s3: FakeS3, aside: Path, who: str = "zoe", dataset: str = "*") -> Removed:
    done = remove_from_inputs(s3, find(s3, aside, who, dataset), aside)
    assert not list(aside.iterdir())
    return done


def traces(s3: FakeS3, who: str = "zoe") -> list[str]:
    """Keys of what still names the person or has a picture of them, in any version; markers count."""
    named = {key for _, key in s3.objects if f"/{who}/" in key}
    return sorted(named | {key for key, body in s3.everything() if who.encode() in body})


def text(s3: FakeS3, key: str) -> str:
    return s3.body(INPUTS, f"inputs/staff/{key}").decode()


def put(s3: FakeS3, key: str, body: str | bytes | None) -> None:
    s3.put(INPUTS, f"inputs/staff/{key}", body.encode() if isinstance(body, str) else body)


def download(s3: FakeS3, prefix: str, to: Path) -> Path:
    """What a job would be given of a folder."""
    for (bucket, key), history in s3.objects.items():
        if bucket == INPUTS and key.startswith(prefix) and history[-1].body is not None:
            path = to / key.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(history[-1].body)
    return to


def labelled(s3: FakeS3, table: str, key: str = "labels.csv") -> None:
    for number in range(4):
        put(s3, f"images/{number:06}.jpg", picture("zoe" if number % 2 else "ada", number))
    put(s3, key, table)
    drop(s3, labels=key)
