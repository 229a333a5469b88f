"""All images of a channel, decoded: once into a file of pixels where that fits, else batch by batch."""

import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.arcface.data.aligning import Aligned, Alignment, UnalignedError
from training.arcface.distributed import World
from training.container.errors import TrainingError
from training.container.unreadable import TABLE_NAME, add_to_table, refuse_unreadable, write_table
from training.formats.decode import SIZE, Pixels, decode
from training.formats.errors import UnreadableError
from training.formats.listing import Listing
from training.formats.places import Indices, bytes_of, copy_shards

IMAGE_BYTES = SIZE * SIZE * 3
CACHE_BYTES_LIMIT = 16 * 2**30
TOLD_SECONDS = 60.0  # between two lines that say how far it is
LISTED = 20  # unreadable files named in the log


class Images(Protocol):
    """Decoded images by index."""

    def take(self, indices: Indices) -> tuple[NDArray[np.uint8], Indices]:
        """Pixels (n, 112, 112, 3), and the indices they really are of: an unreadable image is replaced."""

    def keep(self, chosen: NDArray[np.bool_]) -> "Images":
        """Only the chosen images, counted from 0 again."""


@dataclass(frozen=True)
class Dataset:
    """Images with their files and identities: index i is the same image in both."""

    listing: Listing
    images: Images

    def keep(self, chosen: NDArray[np.bool_]) -> "Dataset":
        return Dataset(self.listing.keep(chosen), self.images.keep(chosen))

    def of_identities(self, chosen: NDArray[np.bool_]) -> "Dataset":
        return self.keep(chosen[self.listing.labels])


@dataclass(frozen=True)
class DecodeReport:
    """What decoding found: how many were not 112x112, and which files (relative) are no images.

    aligned: None where the images were faces already; unaligned: how many of `unreadable` gave no face.
    """

    images: int
    resized: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()  # (file, reason)
    streamed: bool = False  # then nothing is known yet
    aligned: Aligned | None = None
    unaligned: int = 0

    def lines(self, channel: str) -> Iterator[str]:
        if self.streamed:
            yield (
                f"streaming channel={channel} images={self.images}: too many to be decoded before; "
                f"those that cannot be read will be in output/data/{TABLE_NAME}"
            )
            return
        unreadable = len(self.unreadable) - self.unaligned
        if self.aligned:
            yield (
                f"aligned channel={channel} images={self.images} by={self.aligned.by} "
                f"unreadable={unreadable} without_face={self.unaligned}"
            )
        else:
            yield (
                f"decoded channel={channel} images={self.images} resized={self.resized} "
                f"unreadable={unreadable}"
            )
        for file, reason in self.unreadable[:LISTED]:
            yield f"unreadable {channel}/{file} {reason}"
        if len(self.unreadable) > LISTED:
            yield f"unreadable … all {len(self.unreadable)} are listed in output/data/{TABLE_NAME}"


@dataclass(frozen=True)
class CachedImages:
    """Pixels in one memory-mapped file, which the processes of a host share through the page cache."""

    pixels: NDArray[np.uint8]  # (all, 112, 112, 3)
    rows: Indices  # where image i is

    def take(self, indices: Indices) -> tuple[NDArray[np.uint8], Indices]:
        return self.pixels[self.rows[indices]], indices

    def keep(self, chosen: NDArray[np.bool_]) -> "CachedImages":
        return CachedImages(self.pixels, self.rows[chosen])


def _unheard(file: str, reason: str) -> None:
    """Where nobody asks which files are unreadable."""


class StreamedImages:
    """Decodes when asked: for more images than the disk would hold as pixels."""

    def __init__(
        self,
        listing: Listing,
        workers: int,
        max_unreadable: float,
        found: Callable[[str, str], None] = _unheard,
    ):
        """found: hears of each unreadable file, and the reason, when it is met."""
        self.listing, self.workers, self.max_unreadable, self.found = listing, workers, max_unreadable, found
        self.reader = listing.reader()
        self.pool = ThreadPoolExecutor(workers)
        self.bad: dict[int, str] = {}
        self.asked = 0

    def keep(self, chosen: NDArray[np.bool_]) -> "StreamedImages":
        return StreamedImages(self.listing.keep(chosen), self.workers, self.max_unreadable, self.found)

    def take(self, indices: Indices) -> tuple[NDArray[np.uint8], Indices]:
        pixels = np.empty((len(indices), SIZE, SIZE, 3), np.uint8)
        taken = indices.copy()

        def decode_some(rows: range) -> None:
            for row in rows:
                pixels[row], taken[row] = self._readable(int(indices[row]))

        # A few images at a time, for handing one to a thread takes as long as a third of decoding it.
        list(self.pool.map(decode_some, _parts(len(indices), self.workers)))
        self.asked += len(indices)
        if self.asked >= 1000:
            named = [(self.listing.files[index], why) for index, why in self.bad.items()]
            refuse_unreadable(named, self.asked, self.max_unreadable)
        return pixels, taken

    def _readable(self, index: int) -> tuple[Pixels, int]:
        """The image, or the next that can be read: the same on every run, so a resumed one repeats it."""
        count = len(self.listing)
        for candidate in itertools.chain(range(index, count), range(index)):
            if candidate in self.bad:
                continue
            try:
                return decode(self.reader.read(candidate))[0], candidate
            except UnreadableError as error:
                self.bad[candidate] = str(error)
                self.found(self.listing.files[candidate], str(error))
        raise TrainingError(f"none of the {count} images can be read: see the log for the first of them")


def _parts(count: int, workers: int) -> list[range]:
    """range(count) in parts of at most 16, enough for every worker."""
    size = max(1, min(16, -(-count // workers)))
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


@dataclass(frozen=True)
class Decoding:
    """How images are decoded. scratch: a folder that this host's processes share; nothing stays in it."""

    scratch: Path
    workers: int = -1  # threads; -1: one for each processor
    max_unreadable: float = 0.1  # share
    cache_bytes: int = CACHE_BYTES_LIMIT
    check_stop: Callable[[], None] = lambda: None
    listed_in: Path | None = None  # the folder for the table of unreadable files
    fast_file: frozenset[str] = frozenset()  # the channels that are read from S3 as they are read here
    alignment: Alignment | None = None  # None: the images are aligned faces
    tell: Callable[[str], None] = lambda _line: None  # how far it is

    @property
    def threads(self) -> int:
        return self.workers if self.workers > 0 else len(os.sched_getaffinity(0))

    def pixels(self, file: str, data: bytes) -> tuple[Pixels, bool]:
        """An image's, and whether it was resized. Raises UnreadableError."""
        return (self.alignment.face(file, data), False) if self.alignment else decode(data)


def open_dataset(
    listing: Listing, world: World, decoding: Decoding, channel: str = "images"
) -> tuple[Dataset, DecodeReport]:
    """The channel's readable images. Raises TrainingError where more than `max_unreadable` are not."""
    room = shutil.disk_usage(decoding.scratch).free // 2
    if decoding.alignment is None:
        room = min(decoding.cache_bytes, room)
    needed = len(listing) * IMAGE_BYTES
    if world.from_first(needed > room):
        if decoding.alignment:
            raise TrainingError(_no_room(channel, len(listing), needed, room))
        folder = decoding.listed_in
        found = partial(add_to_table, folder, channel) if folder else _unheard
        listing = _brought_near(listing, world, decoding, channel)
        streamed = StreamedImages(listing, decoding.threads, decoding.max_unreadable, found)
        return Dataset(listing, streamed), DecodeReport(len(listing), streamed=True)
    pixels, status = _pixel_file(len(listing), world, decoding.scratch)
    reasons = _decode_share(listing, pixels, status, world, decoding, channel=channel)
    world.barrier()
    unreadable = {int(i): why for part in world.gather_objects(reasons) for i, why in part.items()}
    named = tuple((listing.files[i], unreadable[i]) for i in sorted(unreadable))
    report = DecodeReport(
        len(listing),
        int((status == _RESIZED).sum()),
        named,
        aligned=decoding.alignment.aligned if decoding.alignment else None,
        unaligned=int((status == _UNALIGNED).sum()),
    )
    if decoding.listed_in is not None and world.rank == 0:
        write_table(decoding.listed_in, channel, named)
    what = "read and aligned" if decoding.alignment else "read"
    refuse_unreadable(named, len(listing), decoding.max_unreadable, what)
    good = np.ones(len(listing), dtype=bool)
    good[list(unreadable)] = False
    images = CachedImages(pixels, np.arange(len(listing)))
    return Dataset(listing, images).keep(good), report


def _no_room(channel: str, photos: int, needed: int, room: int) -> str:
    """Aligning takes too long to be done again for every epoch."""
    return (
        f"channels.{channel}: {photos} photos become {needed / 2**20:.0f} MiB of aligned faces, and "
        f"{room / 2**20:.0f} may be used of the disk: raise volume_gb, or align them before "
        f"(facetrain dataset prepare)"
    )


def _brought_near(listing: Listing, world: World, decoding: Decoding, channel: str) -> Listing:
    """A FastFile channel with copies of its shards, where they fit: there each image is a request to S3."""
    if listing.spans is None or channel not in decoding.fast_file:
        return listing
    shards, near = listing.spans.shards, decoding.scratch / channel
    room = shutil.disk_usage(decoding.scratch).free // 2
    if world.from_first(bytes_of(listing.root, shards) > room):
        return listing
    if world.local_rank == 0:
        copy_shards(listing.root, shards, near, decoding.check_stop)
    world.barrier()
    return replace(listing, root=near)


def open_and_tell(
    listing: Listing, world: World, decoding: Decoding, channel: str, log: Callable[[str], None]
) -> tuple[Dataset, DecodeReport]:
    """As `open_dataset`; the log hears what was found."""
    dataset, report = open_dataset(listing, world, decoding, channel)
    for line in (*listing.notes, *report.lines(channel)):
        log(line)
    return dataset, report


_RESIZED, _UNALIGNED = 1, 2


def _pixel_file(count: int, world: World, scratch: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels (n, 112, 112, 3) and a status byte for each image, shared by this host's processes.

    The file has no name once all have opened it, so the disk is free again however the job ends.
    """
    path = scratch / "pixels"
    if world.local_rank == 0:
        with path.open("wb") as file:
            # Taken from the disk now: a full one would end the process without a word when a page is written.
            os.posix_fallocate(file.fileno(), 0, max(1, count * (IMAGE_BYTES + 1)))
    world.barrier()
    whole = np.memmap(path, dtype=np.uint8, mode="r+")
    world.barrier()
    if world.local_rank == 0:
        path.unlink()
    return whole[: count * IMAGE_BYTES].reshape(count, SIZE, SIZE, 3), whole[count * IMAGE_BYTES :]


def _decode_share(
    listing: Listing,
    pixels: NDArray[np.uint8],
    status: NDArray[np.uint8],
    world: World,
    decoding: Decoding,
    *,
    channel: str,
) -> dict[int, str]:
    """Decodes this process's share of its host's images; gives the unreadable ones with reasons.

    In the order in which they lie, so that shards are read from the beginning to the end, once.
    """
    reader = listing.reader()
    share = reader.in_reading_order()[world.local_rank :: world.local_size]

    def decode_some(places: range) -> dict[int, str]:
        decoding.check_stop()
        reasons = {}
        for index in map(int, share[places.start : places.stop]):
            try:
                pixels[index], resized = decoding.pixels(listing.files[index], reader.read(index))
                status[index] = _RESIZED if resized else 0
            except UnreadableError as error:
                reasons[index] = str(error)
                status[index] = _UNALIGNED if isinstance(error, UnalignedError) else 0
        return reasons

    found: dict[int, str] = {}
    try:
        parts, told = _parts(len(share), decoding.threads), time.monotonic()
        with ThreadPoolExecutor(decoding.threads) as pool:
            for part, reasons in zip(parts, pool.map(decode_some, parts), strict=True):
                found |= reasons
                if time.monotonic() - told > TOLD_SECONDS:
                    decoding.tell(f"decoding channel={channel} images={part.stop}/{len(share)}")
                    told = time.monotonic()
    finally:
        if decoding.alignment:
            decoding.alignment.keep()  # when it is told to stop, too
    return found
