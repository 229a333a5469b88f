"""index.json of a packed dataset: its shards, their sizes and checksums; and whether they are still so.

packed/
  000000.tar, 000001.tar, …
  identities.csv    class,identity
  left_out.csv      file,reason: what was not packed; only where there is something; not in the index
  index.json        last of all
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.formats.errors import DataError

INDEX_NAME = "index.json"
LEFT_OUT_NAME = "left_out.csv"
FORMAT, VERSION = "facetrain-shards", 1
_BLOCK = 2**20


@dataclass(frozen=True)
class Packed:
    """A file of the dataset: a shard with so many images, or a table with none."""

    name: str
    bytes: int
    images: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """What index.json says. bytes: of all shards."""

    seed: int
    images: int
    identities: int
    bytes: int
    shards: tuple[Packed, ...]
    tables: tuple[Packed, ...]

    def files(self) -> tuple[Packed, ...]:
        return self.shards + self.tables


def write_index(folder: Path, index: Index) -> None:
    document = {"format": FORMAT, "version": VERSION, **asdict(index)}
    (folder / INDEX_NAME).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_index(folder: Path) -> Index | None:
    """None where there is none, or it is another tool's. Raises DataError where it cannot be understood."""
    path = folder / INDEX_NAME
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            return None
        version = document["version"]
        if version == VERSION:
            return index_of(document)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{INDEX_NAME} is damaged: copy it again, or pack the dataset anew") from None
    raise DataError(
        f"{INDEX_NAME} is of version {version!r}, and {VERSION} is read: use the facetrain that wrote it"
    )


def damaged(
    folder: Path, index: Index, read: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) for each file that is not as the index says; reads every byte.

    read: called with numbers of bytes as they are read. A shard that the index does not know is wrong, too.
    """
    for file in index.files():
        path = folder / file.name
        if not path.is_file():
            yield file.name, "is missing"
        elif path.stat().st_size != file.bytes:
            yield file.name, f"has {path.stat().st_size:,} bytes where {INDEX_NAME} says {file.bytes:,}"
        elif sha256_of(path, read) != file.sha256:
            yield file.name, f"has another SHA-256 than {INDEX_NAME} says"
    known = {file.name for file in index.shards}
    for path in sorted(folder.glob("*.tar")):
        if path.name not in known:
            yield path.name, f"is not in {INDEX_NAME}"


def sha256_of(path: Path, read: Callable[[int], None] = lambda _: None) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            read(len(block))
    return digest.hexdigest()


def table(folder: Path, name: str) -> Packed:
    """A table that was written, as the index holds it."""
    path = folder / name
    return Packed(name, path.stat().st_size, 0, sha256_of(path))


def index_of(document: dict[str, Any]) -> Index:
    """Raises ValueError, KeyError, TypeError or AttributeError where it is none of ours."""
    shards, tables = (tuple(Packed(**file) for file in document[key]) for key in ("shards", "tables"))
    for file in shards + tables:
        if Path(file.name).name != file.name or not isinstance(file.bytes, int):
            raise ValueError(file.name)
    counts = {key: int(document[key]) for key in ("seed", "images", "identities", "bytes")}
    return Index(shards=shards, tables=tables, **counts)
