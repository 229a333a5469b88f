"""Shards and .rec files of a view that hold a person, and the index.json of those that change."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facetrain.datasets.index import FORMAT, INDEX_NAME, VERSION, Packed, index_of
from facetrain.forgetting import records as rec
from facetrain.forgetting import shards as tar
from facetrain.forgetting.channels import Survey, View
from facetrain.forgetting.numbers import Naming, meaning, namings
from facetrain.forgetting.places import INDEX, RECORDS, SHARD, Found, Place, body, download, with_content
from facetrain.forgetting.versions import Version, current
from training.formats import records, shards
from training.formats.errors import DataError
from training.formats.files import suffix_of
from training.formats.names import NAMES_TABLE
from training.jobs.forgotten import normal


def read_ours(data: bytes) -> dict[str, Any] | None:
    """What an index.json of `dataset pack` says; None of another tool's, or of one that is damaged."""
    try:
        document = json.loads(data)
        if (document["format"], document["version"]) != (FORMAT, VERSION):
            return None
        index_of(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return dict(document)


@dataclass(frozen=True)
class Rewriting:
    """How a .rec is made without the person. removed: keys; index: the versions of its .idx, newest first.

    torn: an earlier run wrote the .rec and not its .idx, which is left to do.
    """

    removed: Sequence[int]
    index: tuple[Version, ...]
    torn: bool = False


@dataclass
class Search:
    """Looks through one view's archives, and adds what it finds to `into`.

    listed: how the view's tables name the person's pictures; aside: an empty folder for what is read.
    """

    s3: Any
    view: View
    survey: Survey
    identity: str
    listed: frozenset[str]
    aside: Path
    into: Found
    state: dict[str, dict[str, Packed]] = field(default_factory=dict)  # folder: each shard as it is now
    known: dict[str, list[Naming]] = field(default_factory=dict)  # identities.csv: what it said
    ours: dict[str, dict[str, Packed]] = field(default_factory=dict)  # folder: what its index.json lists

    def run(self, keys: Iterable[str]) -> None:
        """keys: of the view's .tar and .rec files."""
        for key in keys:
            if suffix_of(key) == shards.SUFFIX:
                if not self._is_known_to_be_without(key):
                    self._shard(key)
            elif suffix_of(key) == records.SUFFIX:
                self._records(key)
        for folder in self.state:
            self._index(folder)

    def _is_known_to_be_without(self, key: str) -> bool:
        """Whether `dataset pack` made it, and no identities.csv that lay beside it ever named the person.

        Then its labels are numbers, and somebody else's: it need not be read, which takes hours for many.
        """
        folder, name = key[: key.rindex("/") + 1], key.rpartition("/")[2]
        known = self._namings(folder + NAMES_TABLE)
        if not known or any(one.numbers for one in known) or self.listed:
            return False
        if folder not in self.ours:
            now = current(self.survey.objects.get(folder + INDEX_NAME, []))
            document = read_ours(body(self.s3, now).read()) if now else None
            listed = index_of(document).shards if document else ()
            self.ours[folder] = {one.name: one for one in listed}
        return name in self.ours[folder]

    def _shard(self, key: str) -> None:
        versions = self.survey.objects[key]
        theirs: list[tuple[Version, tar.Scanned]] = []
        folder, name = key[: key.rindex("/") + 1], key.rpartition("/")[2]
        for version in with_content(versions):
            try:
                found = tar.scan(body(self.s3, version), version.size, self._judge(version))
            except ValueError as error:
                self._unread(key, str(error))
                continue
            if version.latest:
                state = Packed(name, found.bytes, found.images, found.sha256)
                self.state.setdefault(folder, {})[name] = state
            if found.keys:
                theirs.append((version, found))
        if theirs:
            newest, found = theirs[0]
            rest = newest.latest and found.images > found.theirs
            chosen = tuple(version for version, _ in theirs)
            self._add(
                Place(SHARD, self.view.dataset, tuple(versions), chosen, found.theirs, rest, found.keys)
            )
            self.into.pictures.update(*(found.pictures for _, found in theirs))

    def _judge(self, version: Version) -> tar.Judge:
        labels, shard = self._labels(version), version.key.removeprefix(self.view.prefix)

        def is_theirs(member: str, label: str) -> bool:
            if label:
                return normal(label) in labels
            names = (f"{shard}/{member}", member, shards.split_key(member)[0])
            return not self.listed.isdisjoint(map(normal, names))

        return is_theirs

    def _records(self, key: str) -> None:
        versions = self.survey.objects[key]
        index = self.survey.objects.get(key.removesuffix(records.SUFFIX) + ".idx", [])
        theirs: list[tuple[Version, list[int], int]] = []
        torn = False
        for version in with_content(versions):
            labels = self._labels(version)
            if not any(label.replace(".", "", 1).isdecimal() for label in labels):
                continue  # a record's label is a number
            try:
                keys, images = self._keys(version, current(index) if version.latest else None, labels)
            except DataError as error:
                if not version.latest or not current(index):
                    self._unread(key, str(error))
                    continue
                keys, images = self._keys(version, None, labels)
                torn = True
            if keys:
                theirs.append((version, keys, images))
        if torn and not (theirs and not theirs[0][0].latest):
            self._unread(key, "and its .idx disagree: upload both again")
        elif theirs:
            newest, keys, images = theirs[0]
            rest = newest.latest and images > len(keys)
            detail = Rewriting(keys, tuple(index), torn)
            chosen = tuple(version for version, _, _ in theirs)
            self._add(Place(RECORDS, self.view.dataset, tuple(versions), chosen, len(keys), rest, detail))

    def _keys(self, version: Version, index: Version | None, labels: frozenset[str]) -> tuple[list[int], int]:
        """The person's keys, and how many images there are. Raises DataError."""
        path = self.aside / "train.rec"
        try:
            download(self.s3, version, path)
            if index is not None:
                download(self.s3, index, path.with_suffix(".idx"))
            return rec.theirs(path, version.key, labels)
        finally:
            for one in (path, path.with_suffix(".idx")):
                one.unlink(missing_ok=True)

    def _index(self, folder: str) -> None:
        """index.json of a folder whose shards change, or where a run was cut off before its turn."""
        key = folder + INDEX_NAME
        versions = self.survey.objects.get(key, [])
        naming = {one.sha256 for one in self._namings(folder + NAMES_TABLE) if one.numbers}
        changed = any(place.key.startswith(folder) for place in self.into.of(SHARD))
        if not current(versions) or not (changed or naming):
            return
        chosen = []
        for version in with_content(versions):  # those that belong to a table that names the person
            text = body(self.s3, version).read().decode("utf-8", "replace")
            if any(digest in text for digest in naming):
                chosen.append(version)
        detail = {**self.ours.get(folder, {}), **self.state[folder]}
        self._add(
            Place(INDEX, self.view.dataset, tuple(versions), tuple(chosen), 0, rest=True, detail=detail)
        )

    def _labels(self, version: Version) -> frozenset[str]:
        beside = version.key[: version.key.rindex("/") + 1]
        known = [one for folder in {self.view.prefix, beside} for one in self._namings(folder + NAMES_TABLE)]
        return meaning(known, self.survey.objects[version.key], version, self.identity)

    def _namings(self, key: str) -> list[Naming]:
        if key not in self.known:
            self.known[key] = namings(self.s3, [self.survey.objects.get(key, [])], self.identity)
        return self.known[key]

    def _add(self, place: Place) -> None:
        self.into.places.append(place)

    def _unread(self, key: str, why: str) -> None:
        self.into.unread.append((self.view.dataset, key, why))
