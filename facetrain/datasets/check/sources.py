"""The images of each channel, as the trainer would find them, and readers of their bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from facetrain.datasets.check.scan import Source
from facetrain.datasets.layout import Layout
from training.formats import bins, records, shards
from training.formats.errors import DataError, UnreadableError
from training.formats.files import files_below, is_image
from training.formats.listing import Listing, find
from training.formats.places import Indices, Reader

BIN = ".bin"


@dataclass(frozen=True)
class Part:
    """Images of one channel. listing: None for a .bin, which does not say whose they are."""

    channel: str
    files: Sequence[str]
    source: Source
    listing: Listing | None = None

    def identity(self, index: int) -> str:
        return "" if self.listing is None else self.listing.identities[int(self.listing.labels[index])]


def training_part(layout: Layout, inside: Path) -> Part:
    """inside: the folder that no link may leave. Raises DataError where there are no images of identities."""
    return _part("images", find(layout.images, layout.labels, without=layout.without), inside)


def validation_parts(folder: Path, inside: Path) -> list[Part]:
    """Images by identity, and each .bin. Raises DataError where a file is damaged."""
    files = files_below(folder)[0]
    found = [_of_bin(folder / file, file) for file in files if PurePosixPath(file).suffix.lower() == BIN]
    if any(PurePosixPath(file).suffix.lower() in (shards.SUFFIX, records.SUFFIX) for file in files):
        return [_part("validation", find(folder, None, "validation"), inside), *found]
    images = [file for file in files if is_image(file)]
    if not images:
        return found
    try:
        listing = find(folder, None, "validation")
    except DataError:  # a list of pairs need not say whose the images are
        listing = Listing.of(folder, [(file, PurePosixPath(file).parent.name) for file in images])
    return [_part("validation", listing, inside), *found]


def pictures_part(root: Path, files: Sequence[str], inside: Path) -> Part:
    """Pictures of nobody in particular, in this order."""
    return _part("images", Listing.of(root, [(file, "") for file in files]), inside)


def _part(channel: str, listing: Listing, inside: Path) -> Part:
    reader = listing.reader()
    if listing.spans is None:
        return Part(channel, listing.files, _Inside(reader, listing, inside), listing)
    for shard in listing.spans.shards:
        if _leads_out(listing.root / shard, inside.resolve()):
            raise DataError(f"channels.{channel}: {shard} {_LINK}")
    return Part(channel, listing.files, reader, listing)


def _of_bin(path: Path, file: str) -> Part:
    encoded, _ = bins.read_encoded(path, f"channels.validation: {file}")
    return Part("validation", [f"{file}/{number}" for number in range(len(encoded))], _BinSource(encoded))


_LINK = "is a link out of the folder: copy the file"


def _leads_out(path: Path, inside: Path) -> bool:
    return path.is_symlink() and not path.resolve().is_relative_to(inside)


class _Inside:
    """Files, but no links out of the dataset: what they lead to is not part of it, and is not opened."""

    def __init__(self, reader: Reader, listing: Listing, inside: Path):
        self.reader, self.listing, self.inside = reader, listing, inside.resolve()

    def read(self, index: int) -> bytes:
        if _leads_out(self.listing.root / self.listing.files[index], self.inside):
            raise UnreadableError(_LINK)
        return self.reader.read(index)

    def in_reading_order(self) -> Indices:
        return self.reader.in_reading_order()


class _BinSource:
    """The images of a verification set, which stay as the file has them."""

    def __init__(self, encoded: Sequence[Any]):
        self.encoded = encoded

    def read(self, index: int) -> bytes:
        item = self.encoded[index]
        if isinstance(item, bytes | bytearray):
            return bytes(item)
        height, width, *_ = bins.pixels_of(item).shape
        return b"P6 %d %d 255\n" % (width, height) + bins.pixels_of(item).tobytes()

    def in_reading_order(self) -> Indices:
        return np.arange(len(self.encoded))
