"""All images of a channel, decoded: once into a file of pixels where that fits, else batch by batch."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.arcface.data.decode import SIZE, Pixels, UnreadableError, read_image
from training.arcface.data.listing import Listing
from training.arcface.distributed import World
from training.arcface.errors import TrainingError

IMAGE_BYTES = SIZE * SIZE * 3
CACHE_BYTES_LIMIT = 16 * 2**30
LISTED = 20  # unreadable files named in the log
NAMED = 3  # unreadable files named in a failure

Indices = NDArray[np.int64]


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
    """What decoding found: how many were not 112x112, and which files (relative) are no images."""

    images: int
    resized: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()  # (file, reason)

    def lines(self, channel: str) -> Iterator[str]:
        yield (
            f"decoded channel={channel} images={self.images} resized={self.resized} "
            f"unreadable={len(self.unreadable)}"
        )
        for file, reason in self.unreadable[:LISTED]:
            yield f"unreadable {channel}/{file} {reason}"


@dataclass(frozen=True)
class CachedImages:
    """Pixels in one memory-mapped file, which the processes of a host share through the page cache."""

    pixels: NDArray[np.uint8]  # (all, 112, 112, 3)
    rows: Indices  # where image i is

    def take(self, indices: Indices) -> tuple[NDArray[np.uint8], Indices]:
        return self.pixels[self.rows[indices]], indices

    def keep(self, chosen: NDArray[np.bool_]) -> "CachedImages":
        return CachedImages(self.pixels, self.rows[chosen])


class StreamedImages:
    """Decodes when asked: for more images than the disk would hold as pixels."""

    def __init__(self, paths: Sequence[Path], workers: int, max_unreadable: float):
        self.paths, self.workers, self.max_unreadable = tuple(paths), workers, max_unreadable
        self.pool = ThreadPoolExecutor(workers)
        self.bad: dict[int, str] = {}
        self.asked = 0

    def keep(self, chosen: NDArray[np.bool_]) -> "StreamedImages":
        paths = [path for path, wanted in zip(self.paths, chosen, strict=True) if wanted]
        return StreamedImages(paths, self.workers, self.max_unreadable)

    def take(self, indices: Indices) -> tuple[NDArray[np.uint8], Indices]:
        found = list(self.pool.map(self._readable, map(int, indices)))
        self.asked += len(indices)
        if self.asked >= 1000:
            refuse_unreadable(
                [(self.paths[i].name, why) for i, why in self.bad.items()], self.asked, self.max_unreadable
            )
        return np.stack([pixels for pixels, _ in found]), np.array([index for _, index in found])

    def _readable(self, index: int) -> tuple[Pixels, int]:
        """The image, or the next that can be read: the same on every run, so a resumed one repeats it."""
        for candidate in (*range(index, len(self.paths)), *range(index)):
            try:
                return read_image(self.paths[candidate])[0], candidate
            except UnreadableError as error:
                self.bad[candidate] = str(error)
        raise TrainingError(f"none of the {len(self.paths)} images can be read")


@dataclass(frozen=True)
class Decoding:
    """How images are decoded. scratch: a folder that this host's processes share; nothing stays in it."""

    scratch: Path
    workers: int = -1  # threads; -1: one for each processor
    max_unreadable: float = 0.1  # share
    cache_bytes: int = CACHE_BYTES_LIMIT
    check_stop: Callable[[], None] = lambda: None

    @property
    def threads(self) -> int:
        return self.workers if self.workers > 0 else len(os.sched_getaffinity(0))


def open_dataset(listing: Listing, world: World, decoding: Decoding) -> tuple[Dataset, DecodeReport]:
    """The channel's readable images. Raises TrainingError where more than `max_unreadable` are not."""
    needed = len(listing) * IMAGE_BYTES
    if world.from_first(needed > min(decoding.cache_bytes, shutil.disk_usage(decoding.scratch).free // 2)):
        streamed = StreamedImages(listing.paths(), decoding.threads, decoding.max_unreadable)
        return Dataset(listing, streamed), DecodeReport(len(listing))
    pixels, status = _pixel_file(len(listing), world, decoding.scratch)
    reasons = _decode_share(listing, pixels, status, world, decoding)
    world.barrier()
    unreadable = {int(i): why for part in world.gather_objects(reasons) for i, why in part.items()}
    named = tuple((listing.files[i], unreadable[i]) for i in sorted(unreadable))
    refuse_unreadable(named, len(listing), decoding.max_unreadable)
    good = np.ones(len(listing), dtype=bool)
    good[list(unreadable)] = False
    images = CachedImages(pixels, np.arange(len(listing)))
    report = DecodeReport(len(listing), int((status == _RESIZED).sum()), named)
    return Dataset(listing, images).keep(good), report


_RESIZED = 1


def _pixel_file(count: int, world: World, scratch: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels (n, 112, 112, 3) and a status byte for each image, shared by this host's processes.

    The file has no name once all have opened it, so the disk is free again however the job ends.
    """
    path = scratch / "pixels"
    if world.local_rank == 0:
        with path.open("wb") as file:
            file.truncate(count * (IMAGE_BYTES + 1))
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
) -> dict[int, str]:
    """Decodes this process's share of its host's images; gives the unreadable ones with reasons."""
    paths = listing.paths()

    def decode(index: int) -> tuple[int, str]:
        decoding.check_stop()
        try:
            pixels[index], resized = read_image(paths[index])
        except UnreadableError as error:
            return index, str(error)
        status[index] = _RESIZED if resized else 0
        return index, ""

    with ThreadPoolExecutor(decoding.threads) as pool:
        outcomes = pool.map(decode, range(world.local_rank, len(paths), world.local_size))
        return {index: reason for index, reason in outcomes if reason}


def refuse_unreadable(unreadable: Sequence[tuple[str, str]], images: int, limit: float) -> None:
    """Raises TrainingError where the unreadable share is above the limit, naming the first few files."""
    if not unreadable or len(unreadable) <= limit * images:
        return
    named = "; ".join(f"{file} {reason}" for file, reason in unreadable[:NAMED])
    raise TrainingError(
        f"{len(unreadable)} of {images} images cannot be read, more than max_unreadable {limit:g} allows: "
        f"{named}{'; …' if len(unreadable) > NAMED else ''}. Replace them, or raise max_unreadable"
    )
