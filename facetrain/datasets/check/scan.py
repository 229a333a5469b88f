"""Reads and decodes every image once, as the trainer will, and keeps 50 bytes of each.

Decoding and hashing release Python's lock, so threads keep all processors busy; what is left is done for a
chunk of images at once. Results are arrays, not objects: a million images take 50 MB.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facetrain.datasets.check.looks import look_of
from facetrain.datasets.check.parallel import in_threads
from training.formats.decode import SIZE, Pixels, decode
from training.formats.errors import UnreadableError
from training.formats.places import Indices

CHUNK = 32  # images decoded before the lock is needed for more than a moment
DIGEST = 16  # bytes: two different images of a million are given one by a chance of 1e-27


class Source(Protocol):
    """Gives the bytes of image i, from any thread; raises UnreadableError."""

    def read(self, index: int) -> bytes: ...

    def in_reading_order(self) -> Indices: ...


@dataclass(frozen=True)
class Scanned:
    """What was seen of n images.

    digest: (n, 2) uint64, of the 112x112 pixels that the trainer sees; look: (n, 2) uint64, near for pictures
    that look alike (`looks`); width, height: (n,) int32 of the file, 0 where it cannot be read; size: (n,)
    int64, bytes; format: (n,) int16, an index into `formats`; unreadable: the reason by index.
    """

    digest: NDArray[np.uint64]
    look: NDArray[np.uint64]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    size: NDArray[np.int64]
    format: NDArray[np.int16]
    formats: list[str] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, count: int) -> "Scanned":
        return cls(
            np.zeros((count, 2), np.uint64),
            np.zeros((count, 2), np.uint64),
            np.zeros(count, np.int32),
            np.zeros(count, np.int32),
            np.zeros(count, np.int64),
            np.full(count, -1, np.int16),
        )

    def readable(self) -> NDArray[np.bool_]:
        """(n,)"""
        return self.width > 0


def scan(source: Source, count: int, advance: Callable[[int], None]) -> Scanned:
    """Every image of the source. advance: told of how many images more are done."""
    found = Scanned.empty(count)
    for seen in in_threads(partial(_see, source), _chunks(source.in_reading_order())):
        _keep(found, seen)
        advance(len(seen.indices))
    return found


@dataclass(frozen=True)
class _Seen:
    """Of one chunk: whom it is of, and what of the readable ones."""

    indices: Indices
    readable: Indices
    digests: bytes
    looks: NDArray[np.uint64]
    headers: list[tuple[str, int, int]]
    sizes: list[int]
    reasons: dict[int, str]


def _chunks(order: Indices) -> Iterator[Indices]:
    for start in range(0, len(order), CHUNK):
        yield order[start : start + CHUNK]


def _see(source: Source, indices: Indices) -> _Seen:
    digests, pixels, headers, readable, sizes = [], [], [], [], []
    reasons: dict[int, str] = {}
    for index in indices.tolist():
        data = b""
        try:
            data = source.read(index)
            image, resized = decode(data)
            headers.append(_header(data, resized))
        except UnreadableError as error:
            reasons[index] = str(error)
        else:
            readable.append(index)
            pixels.append(image)
            digests.append(digest_of(image))
        sizes.append(len(data))
    looks = look_of(np.stack(pixels)) if pixels else np.zeros((0, 2), np.uint64)
    kept = np.array(readable, np.int64)
    return _Seen(indices, kept, b"".join(digests), looks, headers, sizes, reasons)


def digest_of(image: Pixels) -> bytes:
    return hashlib.blake2b(image.data, digest_size=DIGEST).digest()


def _header(data: bytes, resized: bool) -> tuple[str, int, int]:
    """Format, width and height as the file has them. Raises UnreadableError."""
    if not resized and data.startswith(b"\xff\xd8\xff"):
        return "JPEG", SIZE, SIZE
    try:
        with Image.open(io.BytesIO(data)) as image:
            return str(image.format), *image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise UnreadableError("is damaged or cut short") from None


def _keep(found: Scanned, seen: _Seen) -> None:
    found.size[seen.indices] = seen.sizes
    found.unreadable.update(seen.reasons)
    if len(seen.readable):
        found.digest[seen.readable] = np.frombuffer(seen.digests, np.uint64).reshape(-1, 2)
        found.look[seen.readable] = seen.looks
        for index, (name, width, height) in zip(seen.readable.tolist(), seen.headers, strict=True):
            if name not in found.formats:
                found.formats.append(name)
            found.format[index] = found.formats.index(name)
            found.width[index], found.height[index] = width, height
