"""Shards that hold a person among others: read as they come from S3, and written anew without the person."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from facetrain.datasets.index import Packed
from facetrain.datasets.shard_writer import END, header
from training.formats.shards import BLOCK, LABEL_LIMIT, Member, members, split_key
from training.jobs.images import IMAGE_SUFFIXES

_PIECE = 2**20
Judge = Callable[[str, str], bool]  # (member's name, what its .cls or .json says) → the person's


@dataclass
class Scanned:
    """What a shard holds. keys: of the person's samples; theirs: how many images these have.

    pictures: size and SHA-256 of each of those.
    """

    sha256: str = ""
    bytes: int = 0
    images: int = 0
    theirs: int = 0
    keys: set[str] = field(default_factory=set)
    pictures: set[tuple[int, str]] = field(default_factory=set)


class Forward:
    """A stream that is read once, as a file whose place only ever moves on; hashes all that passes."""

    def __init__(self, stream: Any):
        self.stream, self.place = stream, 0
        self.digest = hashlib.sha256()

    def seek(self, place: int) -> None:
        assert place >= self.place, "a tar is read from its beginning to its end"
        while self.place < place and self.read(min(_PIECE, place - self.place)):
            pass

    def read(self, count: int) -> bytes:
        """Less than `count` bytes only at the end."""
        pieces = []
        while count and (piece := self.stream.read(count)):
            pieces.append(piece)
            count -= len(piece)
        data = b"".join(pieces)
        self.digest.update(data)
        self.place += len(data)
        return data


def scan(stream: Any, size: int, is_theirs: Judge) -> Scanned:
    """Reads a tar of `size` bytes to its end. Raises ValueError where it is damaged."""
    file, found = Forward(stream), Scanned(bytes=size)
    pictures: dict[str, list[tuple[int, str]]] = {}
    for member in _members(file, size):
        key, suffix = split_key(member.name)
        if suffix in IMAGE_SUFFIXES:
            found.images += 1
            pictures.setdefault(key, []).append((member.size, _digest(file, member)))
        if is_theirs(member.name, _label(file, member, suffix)):
            found.keys.add(key)
    file.seek(size)
    found.sha256 = file.digest.hexdigest()
    whose = [picture for key in found.keys for picture in pictures.get(key, ())]
    found.theirs, found.pictures = len(whose), set(whose)
    return found


def rewrite(source: Path, destination: Path, keys: Collection[str]) -> Packed:
    """The shard without these keys' members, as `dataset pack` writes it; the file `destination` is new."""
    digest, size, images = hashlib.sha256(), 0, 0
    with source.open("rb") as old, destination.open("xb") as new:

        def put(data: bytes) -> None:
            nonlocal size
            new.write(data)
            digest.update(data)
            size += len(data)

        for member in members(old, source.stat().st_size):
            key, suffix = split_key(member.name)
            if key in keys:
                continue
            images += suffix in IMAGE_SUFFIXES
            put(header(member.name, member.size))
            old.seek(member.offset)
            for count in _pieces(member.size):
                put(old.read(count))
            put(bytes(-member.size % BLOCK))
        put(END)
    return Packed(destination.name, size, images, digest.hexdigest())


def _members(file: Forward, size: int) -> Iterator[Member]:
    as_file: Any = file  # it has what `members` asks of a file
    stream: BinaryIO = as_file
    return members(stream, size)


def _digest(file: Forward, member: Member) -> str:
    digest = hashlib.sha256()
    file.seek(member.offset)
    for count in _pieces(member.size):
        digest.update(file.read(count))
    return digest.hexdigest()


def _label(file: Forward, member: Member, suffix: str) -> str:
    """What a .cls or .json says; "" for other members, and for what is no identity."""
    if suffix not in (".cls", ".json") or member.size > LABEL_LIMIT:
        return ""
    file.seek(member.offset)
    text = file.read(member.size).decode("utf-8", "replace").strip()
    if suffix == ".cls":
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    identity = value.get("identity", "") if isinstance(value, dict) else ""
    return str(identity).strip() if isinstance(identity, str | int) else ""


def _pieces(size: int) -> Iterator[int]:
    """Sizes of pieces to read a member in."""
    for start in range(0, size, _PIECE):
        yield min(_PIECE, size - start)
