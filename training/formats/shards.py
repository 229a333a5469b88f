"""Shards: plain tar files in WebDataset's layout, whose members are read in place, never extracted.

    images/
      000000.tar        anna-1.jpg  anna-1.cls  anna-2.jpg  anna-2.cls …
      000001.tar        …
      identities.csv    class,identity: the names of numbered identities (optional)

Members of one image share the key before the first dot of their name. Whose it is stands in `<key>.cls` (a
name, or a number) or in `<key>.json` as "identity". Sources: WebDataset's format description; for the headers
POSIX pax.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from training.formats.errors import DataError
from training.formats.names import NAMES_TABLE, read_names
from training.formats.places import Spans
from training.jobs.images import SHARD_SUFFIX

SUFFIX = SHARD_SUFFIX
BLOCK = 512
LABEL_LIMIT = 64 * 1024  # bytes of a .cls or .json: more is something else
_FILE, _LONG_NAME, _EXTENDED, _FOLDER, _SPARSE = b"0\x007", b"L", b"x", b"5", b"S"


@dataclass(frozen=True)
class Member:
    """One file within a tar: its bytes are `size` from `offset`."""

    name: str
    offset: int
    size: int


@dataclass
class Sample:
    """What a key has: an image, and perhaps whose it is."""

    image: Member | None = None
    identity: str = ""


@dataclass
class Found:
    """The labelled images of all shards, in the order in which they lie."""

    files: list[str] = field(default_factory=list)  # shard/member
    identities: list[str] = field(default_factory=list)
    spans: list[tuple[int, int, int]] = field(default_factory=list)
    unlabelled: int = 0


def scan(
    root: Path, shards: Sequence[str], suffixes: frozenset[str], table: Mapping[str, str] | None, channel: str
) -> tuple[Found, Spans]:
    """Every image of the shards, and where it is.

    table: the identity of "shard/member", "member" or key, which then counts, and not what the shards say.
    Raises DataError naming the shard where one is damaged, or an image has no identity.
    """
    found, names = Found(), read_names(root, channel)
    readings = [_Shard(root / shard, f"channels.{channel}: {shard}", suffixes, names) for shard in shards]
    for number, (shard, reading, samples) in enumerate(zip(shards, readings, _read(readings), strict=True)):
        for key, sample in samples.items():
            if sample.image is None:
                continue
            file = f"{shard}/{sample.image.name}"
            if table is not None:
                identity = table.get(file) or table.get(sample.image.name) or table.get(key) or ""
                found.unlabelled += not identity
            else:
                identity = sample.identity or reading.refuse_unlabelled(key)
            if identity:
                found.files.append(file)
                found.identities.append(identity)
                found.spans.append((number, sample.image.offset, sample.image.size))
    return found, Spans.of(shards, found.spans)


AT_ONCE = 8  # shards: where each read is a request to S3 (FastFile mode), one alone mostly waits


def _read(readings: Sequence["_Shard"]) -> Iterator[dict[str, Sample]]:
    """The samples of each, in their order; no more are kept than are read at once."""
    waiting: deque[Future[dict[str, Sample]]] = deque()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for reading in readings:
                waiting.append(pool.submit(reading.samples))
                if len(waiting) == AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class _Shard:
    """Reads the headers of one shard; `place` is how a message names it."""

    def __init__(self, path: Path, place: str, suffixes: frozenset[str], names: Mapping[str, str]):
        self.path, self.place, self.suffixes, self.names = path, place, suffixes, names

    def samples(self) -> dict[str, Sample]:
        """By key, in the order of the shard."""
        found: dict[str, Sample] = {}
        try:
            with self.path.open("rb", buffering=2**20) as file:
                for member in members(file, self.path.stat().st_size):
                    self._add(found, member, file)
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            reason = error.strerror if isinstance(error, OSError) else error
            raise DataError(f"{self.place} {reason}: pack or upload it again") from None
        return found

    def refuse_unlabelled(self, key: str) -> str:
        raise DataError(
            f'{self.place}: "{key}" has an image, but neither {key}.cls nor {key}.json with an "identity": '
            f"add one, or name it in labels.csv"
        )

    def _add(self, found: dict[str, Sample], member: Member, file: BinaryIO) -> None:
        key, suffix = split_key(member.name)
        if key.rpartition("/")[2].startswith("._") or not suffix:  # what macOS leaves in archives
            return
        sample = found.get(key)
        if suffix in self.suffixes:
            sample = sample or found.setdefault(key, Sample())
            if sample.image is not None:
                raise DataError(f'{self.place}: two images have the key "{key}": each needs its own')
            sample.image = member
        elif suffix in (".cls", ".json"):
            identity = self._label(member, suffix, file)
            sample = sample or found.setdefault(key, Sample())
            if identity and sample.identity not in ("", identity):
                raise DataError(f'{self.place}: "{key}" has two identities: leave one')
            sample.identity = sample.identity or identity

    def _label(self, member: Member, suffix: str, file: BinaryIO) -> str:
        if member.size > LABEL_LIMIT:
            raise DataError(f"{self.place}: {member.name} is {member.size:,} bytes, which is no identity")
        file.seek(member.offset)
        data = file.read(member.size)
        try:
            text = data.decode("utf-8").strip()
            given = json.loads(text) if suffix == ".json" else {}
        except ValueError:
            raise DataError(f"{self.place}: {member.name} is no UTF-8 text or no JSON") from None
        if suffix == ".cls":
            return self._named(text, member)
        value = given.get("identity", "") if isinstance(given, dict) else ""
        if isinstance(value, int) and not isinstance(value, bool):
            return self._named(str(value), member)
        return value.strip() if isinstance(value, str) else ""

    def _named(self, text: str, member: Member) -> str:
        if not self.names:
            return text
        if text not in self.names:
            raise DataError(f'{self.place}: {member.name} says "{text}", which {NAMES_TABLE} does not have')
        return self.names[text]


def split_key(name: str) -> tuple[str, str]:
    """("a/b", ".seg.png") of "a/b.seg.png": the key ends at the first dot of the file's own name."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".") if not base.startswith("._") else (base, "", "")
    return f"{folder}{slash}{stem}", f"{dot}{suffix.lower()}"


# -- tar ---------------------------------------------------------------------------------------------------


def members(file: BinaryIO, size: int) -> Iterator[Member]:
    """The ordinary files of a tar of `size` bytes.

    Raises ValueError, to be read after the shard's name, where it is no tar or is cut short.
    """
    position, name, ended = 0, "", False
    real_size = -1  # what a pax header says of the next member
    while position + BLOCK <= size:
        file.seek(position)
        header = file.read(BLOCK)
        if not header.strip(b"\0"):
            ended = True
            break
        _check(header, position)
        kind, length = header[156:157], _number(header[124:136])
        if kind in _FILE and real_size >= 0:
            length = real_size
        data, position = position + BLOCK, position + BLOCK + (length + BLOCK - 1) // BLOCK * BLOCK
        if data + length > size:
            raise ValueError(f"is cut short: it has {size:,} bytes of {data + length:,} or more")
        if kind == _LONG_NAME:
            name = _text(file.read(length).partition(b"\0")[0])
        elif kind == _EXTENDED:
            name, real_size = _extended(file.read(length), name, real_size)
        elif kind == _SPARSE:
            raise ValueError("holds sparse files, which cannot be read in place")
        else:
            if kind in _FILE:
                yield Member((name or _name(header)).removeprefix("./"), data, length)
            name, real_size = "", -1
    if not ended:
        raise ValueError("is cut short: the end of its archive is missing" if position else "is empty")


def _check(header: bytes, position: int) -> None:
    """Raises ValueError where these 512 bytes are no header of a tar."""
    try:
        right = int(header[148:156].strip(b" \0") or b"-1", 8)
    except ValueError:
        right = -1
    if sum(header) - sum(header[148:156]) + 8 * ord(" ") == right:
        return
    if position:
        raise ValueError(f"is damaged at byte {position:,}")
    compressed = header.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK"))
    raise ValueError("is compressed, but a shard is a plain tar" if compressed else "is no tar file")


def _number(digits: bytes) -> int:
    """Octal, or in base 256 where the first bit is set (GNU, for what octal is too short for)."""
    if digits[0] & 0x80:
        return int.from_bytes(digits[1:], "big")
    try:
        return int(digits.strip(b" \0") or b"0", 8)
    except ValueError:
        raise ValueError("is damaged: a member's size is no number") from None


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _extended(data: bytes, name: str, size: int) -> tuple[str, int]:
    """What the records of a pax header, "length key=value\\n" each, say of the next member."""
    while data[:1].isdigit():
        length = int(data.partition(b" ")[0])
        key, _, value = data[:length].partition(b" ")[2].removesuffix(b"\n").partition(b"=")
        if key == b"path":
            name = _text(value)
        elif key == b"size":
            size = int(value)
        elif key.startswith(b"GNU.sparse"):
            raise ValueError("holds sparse files, which cannot be read in place")
        data = data[max(1, length) :]
    return name, size
