"""What was found of a person in the inputs bucket: objects, their versions, and what becomes of each."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from facetrain.client import code
from facetrain.errors import OperationError
from facetrain.forgetting.versions import Version

# In the order to go by: copies are known by the pictures, and pictures by the tables that name people.
COPY, TABLE, PICTURE, SHARD, RECORDS, INDEX, LABELS = KINDS = (
    "copy",
    "table",
    "picture",
    "shard",
    "records",
    "index",
    "labels",
)
Note = Callable[[str], None]
_BLOCK = 2**20


@dataclass(frozen=True)
class Place:
    """An object that holds the person. versions: all of the key's, the newest first; chosen: those that do.

    count: pictures, samples or lines of the person in the current version, or else in the last one that has
    some; rest: whether the current version is to be written anew, for it holds others as well; detail: what
    that takes, by the kind.
    """

    kind: str
    dataset: str
    versions: tuple[Version, ...]
    chosen: tuple[Version, ...]
    count: int = 1
    rest: bool = False
    detail: Any = None

    @property
    def bucket(self) -> str:
        return self.versions[0].bucket

    @property
    def key(self) -> str:
        return self.versions[0].key

    @property
    def bytes(self) -> int:
        """Of the versions that go."""
        return sum(version.size for version in self.chosen)


@dataclass
class Found:
    """Everything. files: how tables may call the person's pictures; unread: (dataset, key, why).

    pictures: size and SHA-256 of those inside shards.
    """

    places: list[Place] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unread: list[tuple[str, str, str]] = field(default_factory=list)
    pictures: set[tuple[int, str]] = field(default_factory=set)
    files: frozenset[str] = frozenset()

    @property
    def datasets(self) -> list[str]:
        return sorted({place.dataset for place in self.places})

    def of(self, kind: str) -> list[Place]:
        return [place for place in self.places if place.kind == kind]


def with_content(versions: Sequence[Version]) -> list[Version]:
    """Those that are no delete markers, the newest first."""
    return [version for version in versions if not version.marker]


def body(s3: Any, version: Version) -> Any:
    """The stream of a version's bytes. Raises OperationError where S3 takes hours to fetch them."""
    try:
        return s3.get_object(Bucket=version.bucket, Key=version.key, VersionId=version.id)["Body"]
    except ClientError as error:
        if code(error) != "InvalidObjectState":
            raise
        raise OperationError(
            f"s3://{version.bucket}/{version.key} lies in Glacier, so nobody knows whom it holds: restore it "
            f"(`aws s3api restore-object --version-id {version.id} …`) or delete it, then run this again"
        ) from None


def lines(stream: Any) -> Iterator[str]:
    """A table's lines as they are, with their ends; what is no UTF-8 survives the way there and back."""
    pending = b""
    while block := stream.read(2**16):
        *whole, pending = (pending + block).splitlines(keepends=True)
        yield from (line.decode("utf-8", "surrogateescape") for line in whole)
    if pending:
        yield pending.decode("utf-8", "surrogateescape")


def download(s3: Any, version: Version, path: Path) -> None:
    """Raises OperationError where the disk has no room for it and for what is written beside it."""
    free = shutil.disk_usage(path.parent).free
    if 2 * version.size > free:
        raise no_room(path, 2 * version.size, free)
    with path.open("xb") as file:
        stream = body(s3, version)
        while block := stream.read(_BLOCK):
            file.write(block)


def no_room(path: Path, needed: int, free: int) -> OperationError:
    return OperationError(
        f"{path.parent.parent} has {free / 1e6:,.0f} MB free and {needed / 1e6:,.0f} MB are needed to write "
        f"an archive anew: make room, or set TMPDIR to another folder, and run it again"
    )
