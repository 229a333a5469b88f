"""Objects written anew without a person: tables, shards, .rec files with their .idx, and index.json."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig

from facetrain.datasets.index import Packed, table
from facetrain.errors import OperationError
from facetrain.forgetting import records as rec
from facetrain.forgetting import shards as tar
from facetrain.forgetting import tables
from facetrain.forgetting.listed import layout
from facetrain.forgetting.packed import Rewriting, read_ours
from facetrain.forgetting.places import (
    INDEX,
    LABELS,
    RECORDS,
    SHARD,
    TABLE,
    Found,
    Place,
    body,
    download,
    lines,
)
from facetrain.forgetting.versions import Version, current, of_key
from facetrain.storage import PART_BYTES
from training.formats.names import NAMES_TABLE

_TRANSFER = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES)
_RECORDS = "train.rec"


@dataclass
class Rewriter:
    """found: everything, for an index speaks of the shards and tables beside it.

    state: by folder what has become of shards since they were found: None for one that is gone.
    """

    s3: Any
    found: Found
    state: dict[str, dict[str, Packed | None]] = field(default_factory=dict)

    def rewrite(self, place: Place, folder: Path) -> bool:
        """Puts the object's new version, by way of an empty folder; whether there was one to put.

        Raises ClientError and S3UploadFailedError of S3's, and OperationError where the object has changed
        since it was found or the disk has no room.
        """
        now = current(place.versions)
        assert now is not None, "what is written anew is there"
        if place.kind in (TABLE, LABELS):
            self._put(now, self._table(place, now, folder))
        elif place.kind == SHARD:
            self._put(now, self._shard(place, now, folder))
        elif place.kind == RECORDS:
            self._records(place.detail, now, folder)
        elif place.kind == INDEX:
            new = self._index(place, now, folder)
            if new is None:
                return False
            self._put(now, new)
        return True

    def gone(self, place: Place) -> None:
        """Hears of an object of which no new version is written."""
        if place.kind == SHARD and place.chosen[0].latest:
            self._remember(place, None)

    def _table(self, place: Place, now: Version, folder: Path) -> Path:
        who, removed, total = place.detail
        how, path = layout(self.s3, now), folder / "table"
        assert how is not None, "it was read before"
        with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.writelines(tables.without(who, how, lines(body(self.s3, now)), removed, total))
        return path

    def _shard(self, place: Place, now: Version, folder: Path) -> Path:
        old, new = folder / "old", folder / place.key.rpartition("/")[2]
        download(self.s3, now, old)
        self._remember(place, tar.rewrite(old, new, place.detail))
        return new

    def _remember(self, place: Place, packed: Packed | None) -> None:
        at, _, name = place.key.rpartition("/")
        self.state.setdefault(f"{at}/", {})[name] = packed

    def _records(self, how: Rewriting, now: Version, folder: Path) -> None:
        """The .rec first: a run that is killed before the .idx leaves two that disagree, which tells."""
        new, index = folder / "new" / _RECORDS, current(how.index)
        new.parent.mkdir()
        if how.torn:
            download(self.s3, now, new)
            rec.index_of(new, now.key, new.with_suffix(".idx"))
        else:
            download(self.s3, now, folder / _RECORDS)
            if index is not None:
                download(self.s3, index, (folder / _RECORDS).with_suffix(".idx"))
            rec.rewrite(folder / _RECORDS, now.key, new, how.removed)
            self._put(now, new)
        if index is not None:
            self._put(index, new.with_suffix(".idx"))

    def _index(self, place: Place, now: Version, folder: Path) -> Path | None:
        """None where it is another tool's, or right as it is."""
        before = body(self.s3, now).read()
        old = read_ours(before)
        if old is None:
            return None
        beside = place.key[: place.key.rindex("/") + 1]
        shards = {**place.detail, **self.state.get(beside, {})}
        listed = {one["name"] for one in old["shards"]}
        there = sorted(
            (one for one in shards.values() if one and one.name in listed), key=lambda one: one.name
        )
        changed = self._names(beside, folder)
        document = {
            **old,
            "images": sum(one.images for one in there),
            "bytes": sum(one.bytes for one in there),
            "shards": [asdict(one) for one in there],
        }
        if changed is not None:
            identities, packed = changed
            tables_of = [one for one in old["tables"] if one["name"] != NAMES_TABLE]
            document["tables"] = [*tables_of, *([asdict(packed)] if packed else [])]
            document["identities"] = identities
        new = folder / "new"
        new.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        return None if new.read_bytes() == before else new

    def _names(self, beside: str, folder: Path) -> tuple[int, Packed | None] | None:
        """How many lines identities.csv will have, and what it will be; None where it stays as it is.

        Of none there will be no table.
        """
        for place in self.found.of(LABELS):
            now = current(place.versions)
            if place.key == beside + NAMES_TABLE and now is not None and now in place.chosen:
                if not place.rest:
                    return 0, None
                self._table(place, now, folder).rename(folder / NAMES_TABLE)
                _, removed, total = place.detail
                return total - removed, table(folder, NAMES_TABLE)
        return None

    def _put(self, old: Version, path: Path) -> None:
        """A new version of an object, with its metadata; what came meanwhile is not written over."""
        now = current(of_key(self.s3, old.bucket, old.key))
        if now is None or now.id != old.id:
            raise OperationError("changed while it was written anew: run it again")
        head = self.s3.head_object(Bucket=old.bucket, Key=old.key, VersionId=old.id)
        kept = {
            "ContentType": head.get("ContentType", "binary/octet-stream"),
            "Metadata": head.get("Metadata", {}),
        }
        if path.stat().st_size < PART_BYTES:
            with path.open("rb") as file:
                self.s3.put_object(
                    Bucket=old.bucket,
                    Key=old.key,
                    Body=file,
                    IfMatch=head["ETag"],
                    ChecksumAlgorithm="SHA256",
                    **kept,
                )
        else:
            arguments = {**kept, "ChecksumAlgorithm": "SHA256"}
            self.s3.upload_file(str(path), old.bucket, old.key, ExtraArgs=arguments, Config=_TRANSFER)
