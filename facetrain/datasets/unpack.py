"""Shards or a .rec back to a folder per identity, and verification files to folders with a list of pairs."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facetrain.datasets.aside import new_folder
from facetrain.datasets.index import Index, damaged, read_index
from facetrain.datasets.layout import layout_of
from facetrain.datasets.places import Places
from facetrain.datasets.signatures import image_suffix
from facetrain.datasets.source import key_of, read_source, refused
from facetrain.errors import InputError
from training.formats import bins, records, shards
from training.formats.errors import DataError, UnreadableError

BIN_SUFFIX = bins.SUFFIX
PAIRS_NAME, RENAMED_NAME = "pairs.csv", "renamed.csv"
FOLDS_OF_BIN = 10  # tenths in order, as the trainer takes them


@dataclass(frozen=True)
class Outcome:
    """What was written. renamed: the folder of each identity whose name can be no folder's."""

    images: int
    identities: int
    renamed: Mapping[str, str]
    left_out: tuple[tuple[str, str], ...]  # file, reason
    verified: bool  # against the checksums of an index


def unpack(
    source: Path,
    destination: Path,
    begun: Callable[[int], None] = lambda _: None,
    unpacked: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Writes identity/image for each image of shards or of a .rec; `destination` is new, or an empty folder.

    Shards with an index are compared with its checksums first. begun: hears how many images there are;
    unpacked: of each that is written. Raises InputError for what cannot be unpacked, OperationError where
    the disk is full: then, and after Ctrl-C, nothing is left of it.
    """
    with new_folder(destination) as folder:
        index = _verified(source)
        found = read_source(source)
        if found.spans is None:
            raise InputError.because(
                "SRC", f"{source} holds images already: shards, .rec or .bin are unpacked"
            )
        begun(len(found))
        places, reader, left_out = Places(folder), found.reader(), []
        for image in reader.in_reading_order().tolist():
            try:
                data = reader.read(image)
                key, suffix = key_of(found, image)
                suffix = image_suffix(data, suffix)
            except UnreadableError as error:
                left_out.append((found.files[image], str(error)))
            else:
                places.write(found.identities[found.labels[image]], key, suffix, data)
            unpacked(1)
        _write_renamed(folder / RENAMED_NAME, places.renamed)
    return Outcome(
        len(found) - len(left_out), len(places.folders), places.renamed, tuple(left_out), index is not None
    )


def unpack_pairs(source: Path, destination: Path) -> Outcome:
    """The pictures of a verification file, each once, and pairs.csv, which the trainer and `verify` read."""
    with new_folder(destination) as folder:
        try:
            encoded, same = bins.read_encoded(source, source.name)
        except DataError as error:
            raise refused(error) from None
        names: dict[bytes, str] = {}
        files = []
        for number, item in enumerate(encoded):
            key = bins.key(item)
            if key not in names:
                names[key] = _write_picture(folder, item, number, source.name)
            files.append(names[key])
        folds = np.concatenate(
            [[n] * len(part) for n, part in enumerate(np.array_split(same, FOLDS_OF_BIN), 1)]
        )
        with (folder / PAIRS_NAME).open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("file1", "file2", "same", "fold"))
            rows.writerows(zip(files[0::2], files[1::2], same.astype(int), folds.astype(int), strict=True))
    return Outcome(len(names), 0, {}, (), verified=False)


def _verified(source: Path) -> Index | None:
    """The index of a packed dataset, after every checksum was found right; None where there is none.

    Of a single shard, too, if its index lies beside it: then only that shard counts.
    """
    folder = source.parent if source.is_file() else layout_of(source).images
    if source.suffix.lower() == records.SUFFIX or not any(folder.glob(f"*{shards.SUFFIX}")):
        return None
    try:
        index = read_index(folder)
    except DataError as error:
        raise refused(error) from None
    if index is None:
        return None
    for file, problem in damaged(folder, index):
        if source.is_dir() or file == source.name:
            raise InputError.because("SRC", f"{file} {problem}: copy it again, or pack the dataset anew")
    return index


def _write_picture(folder: Path, item: object, number: int, place: str) -> str:
    """Its name below the folder. Bytes stay as they are; bare pixels become PGM or PPM."""
    try:
        data = bins.file_of(item)
        name = f"images/{number:06}{image_suffix(data, '')}"
    except UnreadableError as error:
        raise InputError.because("SRC", f"{place}: image {number + 1} {error}: make the file anew") from None
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return name


def _write_renamed(path: Path, renamed: Mapping[str, str]) -> None:
    if not renamed:
        return
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerows([("identity", "folder"), *renamed.items()])
