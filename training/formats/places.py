"""Where the bytes of each image are: a file of its own, or a span of a shard, read in place."""

import errno
import os
import resource
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.formats import records
from training.formats.decode import BYTES_LIMIT, read_bytes
from training.formats.errors import UnreadableError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Spans:
    """Image i is `size[i]` bytes from `offset[i]` of `shards[shard[i]]`, (n,) int64 each.

    records: the bytes are a record of a .rec file, from which the image is to be taken.
    """

    shards: tuple[str, ...]  # relative to the channel
    shard: Indices
    offset: Indices
    size: Indices
    records: bool = False

    @classmethod
    def of(
        cls, shards: Sequence[str], spans: Sequence[tuple[int, int, int]], *, records: bool = False
    ) -> "Spans":
        """From (shard, offset, size) of each image."""
        table = np.array(spans, dtype=np.int64).reshape(-1, 3)
        return cls(tuple(shards), table[:, 0], table[:, 1], table[:, 2], records)

    def take(self, chosen: NDArray[np.bool_] | Indices) -> "Spans":
        """Those of the chosen images: (images,) bool, or their indices."""
        return replace(self, shard=self.shard[chosen], offset=self.offset[chosen], size=self.size[chosen])


class Reader(Protocol):
    """Reads the bytes of an image by its index, from any thread."""

    def read(self, index: int) -> bytes:
        """Raises UnreadableError, or OSError where the mount fails, which says nothing of the image."""

    def in_reading_order(self) -> Indices:
        """All indices, such that each shard is read once from its beginning to its end."""


class FileReader:
    """Each image a file."""

    def __init__(self, root: Path, files: Sequence[str]):
        self.root, self.files = str(root), files

    def read(self, index: int) -> bytes:
        return read_bytes(f"{self.root}/{self.files[index]}")

    def in_reading_order(self) -> Indices:
        return np.arange(len(self.files))


class SpanReader:
    """Shards stay as they are, on the disk or behind a mount that streams them (FastFile mode)."""

    def __init__(self, root: Path, spans: Spans):
        self.root, self.spans = root, spans
        self.descriptors: dict[int, int] = {}
        self.lock = Lock()
        _allow_open_files(len(spans.shards) + OTHER_FILES)

    def read(self, index: int) -> bytes:
        spans = self.spans
        shard, size = int(spans.shard[index]), int(spans.size[index])
        if size > BYTES_LIMIT:
            raise UnreadableError(f"is larger than {BYTES_LIMIT // 2**20} MB")
        try:
            data = _patiently(lambda: os.pread(self._descriptor(shard), size, int(spans.offset[index])))
        except OSError as error:
            if error.errno in _OF_THE_MOUNT:
                raise OSError(errno.EIO, error.strerror, str(self.root / spans.shards[shard])) from None
            raise UnreadableError(f"cannot be read ({error.strerror})") from None
        if len(data) != size:
            raise UnreadableError("is cut short: its shard has become shorter")
        return records.image(data) if spans.records else data

    def in_reading_order(self) -> Indices:
        return np.lexsort((self.spans.offset, self.spans.shard))

    def _descriptor(self, shard: int) -> int:
        with self.lock:
            if shard not in self.descriptors:
                self.descriptors[shard] = os.open(self.root / self.spans.shards[shard], os.O_RDONLY)
            return self.descriptors[shard]

    def __del__(self) -> None:
        for descriptor in self.descriptors.values():
            os.close(descriptor)


# What S3 or the network is to blame for, where a mount streams (FastFile mode): an image that were left out
# for it would be missing in one run and not in the next.
_OF_THE_MOUNT = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT)
WAITS = (0.1, 1, 5, 20)  # seconds before each further try


def _patiently(read: Callable[[], bytes]) -> bytes:
    for seconds in WAITS:
        try:
            return read()
        except OSError as error:
            if error.errno not in _OF_THE_MOUNT:
                raise
        time.sleep(seconds)
    return read()


OTHER_FILES = 256  # that a process may have open beside the shards


def _allow_open_files(count: int) -> None:
    """Up to what the system allows: often it lets a process have 1,024, and more if it asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft not in (hard, resource.RLIM_INFINITY) and soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


COPIED_AT_ONCE = 8  # shards: one alone does not fill the network


def bytes_of(root: Path, shards: Sequence[str]) -> int:
    return sum((root / shard).stat().st_size for shard in shards)


def copy_shards(root: Path, shards: Sequence[str], to: Path, check_stop: Callable[[], None]) -> None:
    """Each from its beginning to its end, several at once. Raises OSError where the disk is full."""

    def copy(shard: str) -> None:
        check_stop()
        (to / shard).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / shard, to / shard)

    with ThreadPoolExecutor(COPIED_AT_ONCE) as pool:
        list(pool.map(copy, shards))
