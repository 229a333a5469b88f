"""Which labels in shards and .rec files mean a person: the numbers that identities.csv gave, and when."""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from facetrain.errors import OperationError
from facetrain.forgetting.places import body, lines, with_content
from facetrain.forgetting.versions import Version
from training.jobs.forgotten import normal


class _Hashed:
    """A stream whose bytes are hashed as they pass."""

    def __init__(self, stream: Any):
        self.stream, self.digest = stream, hashlib.sha256()

    def read(self, count: int) -> bytes:
        data: bytes = self.stream.read(count)
        self.digest.update(data)
        return data


@dataclass(frozen=True)
class Naming:
    """One version of identities.csv: the person's numbers in it, and since when until when it counted."""

    numbers: frozenset[str]
    since: float
    until: float
    latest: bool
    sha256: str


def namings(s3: Any, tables: Iterable[Sequence[Version]], identity: str) -> list[Naming]:
    """Of every version of the tables, each given with the newest first."""
    found = []
    for versions in tables:
        for version in with_content(versions):
            stream = _Hashed(body(s3, version))
            try:
                rows = list(csv.DictReader(line.lstrip("\ufeff") for line in lines(stream)))
            except csv.Error as error:
                raise OperationError(
                    f"{version.key} cannot be read ({error}), so nobody knows whom the numbers beside it "
                    "mean: put it right or delete it in all versions, then run this again"
                ) from None
            numbers = frozenset(
                (row.get("class") or "").strip()
                for row in rows
                if normal((row.get("identity") or "").strip()) == normal(identity)
            )
            until = end_of(versions, version)
            found.append(Naming(numbers, version.at, until, version.latest, stream.digest.hexdigest()))
    return found


def meaning(
    known: Sequence[Naming], versions: Sequence[Version], version: Version, identity: str
) -> frozenset[str]:
    """The labels that mean the person in one version of an archive: the name, and the numbers of its table.

    Numbers change as people are added. So the current archive goes by the current table, and an older one by
    those that counted while it did.
    """
    if version.latest:
        counted = [one for one in known if one.latest] or sorted(known, key=lambda one: -one.since)[:1]
    else:
        end = end_of(versions, version)
        counted = [one for one in known if one.since <= end and version.at <= one.until]
    plain = frozenset((normal(identity),))
    numbers = frozenset[str]().union(*(one.numbers for one in counted))
    return numbers if counted and identity.isdecimal() else numbers | plain


def end_of(versions: Sequence[Version], version: Version) -> float:
    """When a version was written over or deleted; never, for the latest."""
    place = [other.id for other in versions].index(version.id)
    return versions[place - 1].at if place else float("inf")
