"""Looks for one of 10,000 people among a million pictures in a bucket, in folders and by a table of labels.

The bucket and the table are made up as they are read, so that the figures are of the search alone. S3 lists
1,000 keys a page, and each picture is listed twice.
"""

import base64
import hashlib
import io
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from facetrain.forgetting import inputs
from training.jobs.forgotten import EVERY_DATASET
from training.jobs.platform import Platform

PEOPLE, EACH = 10_000, 100
FOLDER, PAGE = "inputs/big/", 1000
TABLE = f"{FOLDER}labels.csv"
WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    for how, labelled in (("by folders", False), ("by a table", True)):
        before = peak_mib()
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as aside:
            found = inputs.find(
                Bucket(labelled),
                Platform.example(),
                "p77",
                dataset=EVERY_DATASET,
                aside=Path(aside),
                note=lambda _: None,
            )
        seconds = time.perf_counter() - begun
        assert len(found.places) == EACH + labelled
        print(f"{how}  {seconds:6.1f} s, {peak_mib() - before:4.0f} MiB more for {PEOPLE * EACH:,} pictures")


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Rows:
    """The table, as a stream."""

    def __init__(self) -> None:
        self.rows, self.rest = self._rows(), b""

    def read(self, count: int) -> bytes:
        while len(self.rest) < count and (row := next(self.rows, b"")):
            self.rest += row
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    def close(self) -> None:
        """Of a stream that is not read to its end."""

    def _rows(self) -> Iterator[bytes]:
        yield b"file,identity\n"
        for who in range(PEOPLE):
            yield "".join(f"p{who}/{number}.jpg,p{who}\n" for number in range(EACH)).encode()


class Bucket:
    """As much of an S3 client as the search asks for."""

    def __init__(self, labelled: bool):
        channels = {"images": "images/"} | ({"labels": "labels.csv"} if labelled else {})
        self.manifest = json.dumps({"channels": channels}).encode()
        self.others = [f"{FOLDER}manifest.json", *([TABLE] if labelled else [])]

    def get_paginator(self, _: str) -> "Bucket":
        return self

    def paginate(self, **asked: str) -> Iterator[dict[str, Any]]:
        page: list[dict[str, Any]] = []
        for key, size in self._keys(asked["Bucket"], asked["Prefix"]):
            entry = {"Key": key, "VersionId": "1", "IsLatest": True, "LastModified": WRITTEN, "Size": size}
            page.append(entry)
            if len(page) == PAGE:
                yield {"Versions": page}
                page = []
        yield {"Versions": page}

    def get_object(self, **asked: str) -> dict[str, Any]:
        return {"Body": Rows() if asked["Key"] == TABLE else io.BytesIO(self.manifest)}

    def head_object(self, **asked: str) -> dict[str, str]:
        return {"ChecksumSHA256": base64.b64encode(hashlib.sha256(asked["Key"].encode()).digest()).decode()}

    def _keys(self, bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
        if bucket != Platform.example().inputs_bucket:
            return
        images = f"{FOLDER}images/"
        person = prefix.removeprefix(images).partition("/")[0] if prefix.startswith(images) else ""
        for who in [person] if person else map("p{}".format, range(PEOPLE)):
            for number in range(EACH):
                if (key := f"{images}{who}/{number}.jpg").startswith(prefix):
                    yield key, 9000 + number + EACH * int(who[1:])
        yield from ((key, 200) for key in self.others if key.startswith(prefix))
