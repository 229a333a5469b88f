"""Which images there are, and whose: folders for identities, a table of files, shards, or a .rec file."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.formats import records, shards
from training.formats.errors import DataError
from training.formats.files import Present, files_below, is_image, suffix_of
from training.formats.labels import GROUPS_NAME, LABELS_NAME, TABLE_SUFFIXES, read_labels
from training.formats.names import read_names
from training.formats.places import FileReader, Reader, SpanReader, Spans
from training.formats.words import many
from training.jobs.images import IMAGE_SUFFIXES, without_images


@dataclass(frozen=True)
class Listing:
    """Images and their identities, in an order that depends on the names alone.

    files: paths relative to `root`, with forward slashes, or shard/member; labels: for each file an index
    into identities, (n,) int64; spans: where they are within shards, None where each is a file of its own.
    """

    root: Path
    files: tuple[str, ...]
    labels: NDArray[np.int64]
    identities: tuple[str, ...]
    notes: tuple[str, ...] = ()
    spans: Spans | None = None

    @classmethod
    def of(
        cls,
        root: Path,
        pairs: Sequence[tuple[str, str]],
        notes: Sequence[str] = (),
        spans: Spans | None = None,
    ) -> "Listing":
        """From (file, identity) pairs."""
        order = sorted(range(len(pairs)), key=pairs.__getitem__)
        identities = tuple(sorted({identity for _, identity in pairs}))
        index = {identity: number for number, identity in enumerate(identities)}
        labels = np.array([index[pairs[place][1]] for place in order], dtype=np.int64)
        files = tuple(pairs[place][0] for place in order)
        places = None if spans is None else spans.take(np.array(order, dtype=np.int64))
        return cls(root, files, labels, identities, tuple(notes), places)

    def __len__(self) -> int:
        return len(self.files)

    def reader(self) -> Reader:
        """Gives the bytes of image i."""
        return FileReader(self.root, self.files) if self.spans is None else SpanReader(self.root, self.spans)

    def keep(self, chosen: NDArray[np.bool_]) -> "Listing":
        """Only the chosen images (n,) and the identities that still have one."""
        kept = np.flatnonzero(chosen)
        present, labels = np.unique(self.labels[kept], return_inverse=True)
        return Listing(
            self.root,
            tuple(self.files[index] for index in kept),
            labels.astype(np.int64),
            tuple(self.identities[label] for label in present),
            self.notes,
            None if self.spans is None else self.spans.take(kept),
        )

    def counts(self) -> NDArray[np.int64]:
        """Images of each identity."""
        return np.bincount(self.labels, minlength=len(self.identities)).astype(np.int64)


def find(images: Path, labels: Path | None, channel: str = "images", without: Sequence[str] = ()) -> Listing:
    """The images of a channel, labelled by its folders or by a table.

    labels: the labels channel's folder or its table, if the job has one; else labels.csv in the images' own
    folder is taken. without: folders in it, relative, to pass over. Raises DataError where there are no
    images, or no identities can be told.
    """
    if not images.is_dir():
        raise DataError(f"channels.{channel}: {images} does not exist: name an S3 prefix that holds images")
    files, links = files_below(images)
    files = [file for file in files if not file.startswith(tuple(f"{folder}/" for folder in without))]
    notes = [f"folder_links_not_followed={links}"] if links else []
    table = table_of(images, labels)
    packed = [file for file in files if suffix_of(file) in (shards.SUFFIX, records.SUFFIX)]
    if packed:
        return _from_packed(images, files, packed, table, channel)
    if table is not None:
        return _from_table(images, files, table, channel, notes)
    return _from_folders(images, [file for file in files if is_image(file)], files, channel, notes)


def _from_packed(
    root: Path, files: Sequence[str], packed: Sequence[str], table: Path | None, channel: str
) -> Listing:
    """Raises DataError for a channel that holds two kinds of things: which is meant cannot be told."""
    loose = sum(map(is_image, files))
    suffixes = {Path(file).suffix.lower() for file in packed}
    if loose or len(suffixes) > 1:
        also = f"{loose} loose images" if loose else f"{records.SUFFIX} files"
        raise DataError(
            f"channels.{channel}: {packed[0]} and {also} lie side by side, and only one kind is read: "
            f"keep either in this channel"
        )
    if suffixes == {records.SUFFIX}:
        return _from_records(root, packed, table, channel)
    found, spans = shards.scan(root, packed, IMAGE_SUFFIXES, read_labels(table) if table else None, channel)
    if not found.files:
        asked = f" that {table.name} names" if table else ""
        raise DataError(f"channels.{channel}: no images{asked} in {len(packed)} shards, such as {packed[0]}")
    notes = [f"shards={len(packed)}"]
    if found.unlabelled:
        notes.append(f"images_without_label={found.unlabelled}")
    return Listing.of(root, list(zip(found.files, found.identities, strict=True)), notes, spans)


def _from_records(root: Path, packed: Sequence[str], table: Path | None, channel: str) -> Listing:
    names = read_names(root, channel)
    pairs, spans = [], []
    for number, file in enumerate(packed):
        for record, identity in records.scan(root / file, names, channel):
            pairs.append((f"{file}/{record.key}", identity))
            spans.append((number, record.offset, record.size))
    notes = [f"record_files={len(packed)}", *(["labels_table_not_read=1"] if table else [])]
    return Listing.of(root, pairs, notes, Spans.of(packed, spans, records=True))


def _from_table(
    images: Path, files: Sequence[str], table: Path, channel: str, notes: Sequence[str]
) -> Listing:
    labelled = read_labels(table)
    present = Present(files)
    found: dict[str, str] = {}
    absent = []
    for named, identity in labelled.items():
        file = present.match(named)
        if file is None:
            absent.append(named)
        elif found.setdefault(file, identity) != identity:
            raise DataError(f'{table.name}: "{named}" is named twice, with two identities: leave one line')
    if not found:
        raise DataError(
            f"{table.name}: none of its {len(labelled)} files is in channels.{channel}: "
            f'"{absent[0]}" is taken as a path relative to that channel, which holds '
            f"{many(len(files), 'file')}"
        )
    unlabelled = sum(is_image(file) and file not in found for file in files)
    counts = [("labels_without_image", len(absent)), ("images_without_label", unlabelled)]
    more = [f"{name}={count}" for name, count in counts if count]
    return Listing.of(images, list(found.items()), [*notes, *more])


def _from_folders(
    root: Path, images: Sequence[str], files: Sequence[str], channel: str, notes: Sequence[str]
) -> Listing:
    if not images:
        raise DataError(
            f"channels.{channel}: no images among {many(len(files), 'file')}{without_images(files)}"
        )
    depth = common_depth(images)
    loose = {file for file in images if file.count("/") <= depth}
    if len(loose) == len(images):
        raise DataError(
            f"channels.{channel}: {len(images)} images lie in one folder and nothing says whose they are: "
            f"put them in a folder for each identity, or add a labels channel with columns file,identity"
        )
    # Interned: one string for each identity, not for each image.
    pairs = [(file, sys.intern(file.split("/", depth + 1)[depth])) for file in images if file not in loose]
    notes = [*notes, *([f"images_outside_folders={len(loose)}"] if loose else [])]
    deeper = sum(file.count("/") > depth + 1 for file, _ in pairs)
    if deeper:
        # Said aloud, because train/anna/1.jpg would make "train" a person.
        notes.append(f"images_in_deeper_folders={deeper} identity_is_folder_level={depth + 1}")
    return Listing.of(root, pairs, notes)


def common_depth(files: Sequence[str]) -> int:
    """How many folders wrap all identities: 1 for att_faces/s1/1.pgm, att_faces/s2/1.pgm, …"""
    folders = [Path(folder).parts for folder in {file.rpartition("/")[0] for file in files}]
    depth = 0
    while all(len(parts) > depth + 1 for parts in folders) and len({parts[depth] for parts in folders}) == 1:
        depth += 1
    return depth


def table_of(images: Path, labels: Path | None) -> Path | None:
    """The table of files and identities, if there is one. Raises DataError where there are several."""
    if labels is not None and labels.is_file():
        return labels
    if labels is None or not labels.is_dir():
        own = images / LABELS_NAME
        return own if own.is_file() else None
    return only_table(labels, "labels", TABLE_SUFFIXES, "file,identity")


def only_table(folder: Path, channel: str, suffixes: Sequence[str], columns: str) -> Path:
    """The table in a channel's folder. Raises DataError where there is none, or more than one."""
    tables = [
        folder / file
        for file in files_below(folder)[0]
        if Path(file).suffix.lower() in suffixes and Path(file).name != GROUPS_NAME
    ]
    if len(tables) != 1:
        raise DataError(
            f"channels.{channel}: {len(tables)} tables ({', '.join(suffixes)}) where one is expected, "
            f"with columns {columns}"
        )
    return tables[0]
