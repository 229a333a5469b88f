"""What `pack` and `unpack` read: folders, a table of files, shards or .rec, all as the trainer reads them."""

import os
from pathlib import Path, PurePosixPath

import numpy as np

from facetrain.datasets.layout import CELEBA_TABLE, Layout, layout_of
from facetrain.errors import InputError
from training.formats import bins, listing, records, shards
from training.formats.errors import DataError, UnreadableError
from training.formats.listing import Listing
from training.formats.shards import split_key

_CHANNEL = "images"


def read_source(source: Path, labels: Path | None = None) -> Listing:
    """The images of a folder, or of one .rec or .tar file, by name; and whose they are.

    labels: a table of files and identities; else labels.csv or CelebA's list in the folder, where one is.
    Raises InputError with what is wrong and the remedy.
    """
    if labels is not None and not labels.is_file():
        raise InputError.because("--labels", f"{labels} is no file: name a table with columns file,identity")
    if source.suffix.lower() == bins.SUFFIX and source.is_file():
        what = "is a verification set, which says of no image whose it is: the trainer reads it as it is"
        raise InputError.because("SRC", f"{source} {what} (facetrain dataset unpack makes pictures of it)")
    alone = source.suffix.lower() in (shards.SUFFIX, records.SUFFIX) and source.is_file()
    layout = _beside(source) if alone else layout_of(source)
    try:
        found = listing.find(layout.images, labels or layout.labels, _CHANNEL, layout.without)
    except DataError as error:
        raise refused(error) from None
    _refuse_climbing(found)
    return _only(found, source.name) if alone else found


def _beside(file: Path) -> Layout:
    celeba = file.with_name(CELEBA_TABLE)
    return Layout(file.parent, celeba if celeba.is_file() else None)


def refused(error: DataError) -> InputError:
    """What a reader of channels says, said of a folder on this machine."""
    channel = f"channels.{_CHANNEL}"
    text = str(error).removeprefix(f"{channel}: ").replace(f"of {channel}: ", "of ")
    return InputError.because("SRC", text.replace(channel, "SRC"))


def key_of(found: Listing, index: int) -> tuple[str, str]:
    """The name of image i without its shard and suffix, and its suffix, "" in a .rec.

    anna/1 and .jpg of anna/1.jpg and of 000000.tar/anna/1.jpg; 17 of train.rec/17, and
    train/17 where there are several .rec files.
    """
    file, spans = found.files[index], found.spans
    if spans is None:
        stem, dot, suffix = file.rpartition(".")
        return stem, dot + suffix.lower()
    shard = spans.shards[int(spans.shard[index])]
    name = file[len(shard) + 1 :]
    if spans.records:
        return name if len(spans.shards) == 1 else f"{PurePosixPath(shard).stem}/{name}", ""
    return split_key(name)


def refuse_link(found: Listing, index: int) -> None:
    """Raises UnreadableError where the image is a link out of the folder: it brings in what nobody meant."""
    if found.spans is not None or not os.path.islink(path := f"{found.root}/{found.files[index]}"):  # noqa: PTH114 (half the time)
        return
    target = Path(path).resolve()
    if not target.is_relative_to(found.root.resolve()):
        raise UnreadableError(f"is a link out of the folder, to {target}")


def _refuse_climbing(found: Listing) -> None:
    """Raises InputError for an archive whose members would be written outside of the folder they go to."""
    if found.spans is None:
        return
    for index, file in enumerate(found.files):
        shard = found.spans.shards[int(found.spans.shard[index])]
        name = file[len(shard) + 1 :]
        if name.startswith("/") or ".." in name.split("/"):
            raise InputError.because(
                "SRC", f'{shard}: its member "{name}" climbs out of the folder: do not trust this archive'
            )


def _only(found: Listing, file: str) -> Listing:
    """Those of one file, where others lie beside it."""
    spans = found.spans
    if spans is None or file not in spans.shards:
        raise InputError.because("SRC", f"{file} holds no images that can be listed")
    return found.keep(np.asarray(spans.shard == spans.shards.index(file)))
