"""Which images there are, and whose: a folder for each identity, or a table of files and identities."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.arcface.data.labels import read_labels
from training.arcface.errors import TrainingError

# What Pillow may be able to read. HEIC is here so that phone pictures are reported as
# unreadable, not passed over.
IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm"),
        *("pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)
ARCHIVE_SUFFIXES = frozenset((".7z", ".bz2", ".gz", ".idx", ".rar", ".rec", ".tar", ".tgz", ".xz", ".zip"))
LABELS_NAME = "labels.csv"


@dataclass(frozen=True)
class Listing:
    """Images and their identities, in an order that depends on the names alone.

    files: paths relative to `root`, with forward slashes; labels: for each file an index into identities,
    (n,) int64.
    """

    root: Path
    files: tuple[str, ...]
    labels: NDArray[np.int64]
    identities: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, root: Path, pairs: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> "Listing":
        """From (file, identity) pairs."""
        ordered = sorted(pairs)
        identities = tuple(sorted({identity for _, identity in ordered}))
        index = {identity: number for number, identity in enumerate(identities)}
        labels = np.array([index[identity] for _, identity in ordered], dtype=np.int64)
        return cls(root, tuple(file for file, _ in ordered), labels, identities, tuple(notes))

    def __len__(self) -> int:
        return len(self.files)

    def paths(self) -> list[Path]:
        return [self.root / file for file in self.files]

    def keep(self, chosen: NDArray[np.bool_]) -> "Listing":
        """Only the chosen images (n,) and the identities that still have one."""
        pairs = [
            (file, self.identities[label])
            for file, label, wanted in zip(self.files, self.labels, chosen, strict=True)
            if wanted
        ]
        return Listing.of(self.root, pairs, self.notes)

    def counts(self) -> NDArray[np.int64]:
        """Images of each identity."""
        return np.bincount(self.labels, minlength=len(self.identities)).astype(np.int64)


def find(images: Path, labels: Path | None, channel: str = "images") -> Listing:
    """The images of a channel, labelled by its folders or by a table.

    labels: the labels channel's folder, if the job has one; else labels.csv in the images' own folder is
    taken. Raises TrainingError where there are no images, or no identities can be told.
    """
    if not images.is_dir():
        raise TrainingError(
            f"channels.{channel}: {images} does not exist: name an S3 prefix that holds images"
        )
    files = _files(images)
    table = _table(images, labels)
    if table is not None:
        return _from_table(images, files, table, channel)
    return _from_folders(images, [file for file in files if _is_image(file)], files, channel)


def _from_table(images: Path, files: Sequence[str], table: Path, channel: str) -> Listing:
    labelled = read_labels(table)
    present = set(files)
    pairs, absent = [], []
    for file, identity in labelled.items():
        found = _match(file, present)
        if found is None:
            absent.append(file)
        else:
            pairs.append((found, identity))
    if not pairs:
        raise TrainingError(
            f"{table.name}: none of its {len(labelled)} files is in channels.{channel}: "
            f'"{absent[0]}" is taken as a path relative to that channel, which holds {len(present)} files'
        )
    unlabelled = sum(map(_is_image, present)) - len(pairs)
    notes = []
    if absent:
        notes.append(f"labels_without_image={len(absent)}")
    if unlabelled > 0:
        notes.append(f"images_without_label={unlabelled}")
    return Listing.of(images, pairs, notes)


def _from_folders(root: Path, images: Sequence[str], files: Sequence[str], channel: str) -> Listing:
    if not images:
        raise TrainingError(f"channels.{channel}: no images among {len(files)} files{_archive_hint(files)}")
    depth = _common_depth(images)
    loose = {file for file in images if len(Path(file).parts) <= depth + 1}
    if len(loose) == len(images):
        raise TrainingError(
            f"channels.{channel}: {len(images)} images lie in one folder and nothing says whose they are: "
            f"put them in a folder for each identity, or add a labels channel with columns file,identity"
        )
    pairs = [(file, file.split("/")[depth]) for file in images if file not in loose]
    notes = [f"images_outside_folders={len(loose)}"] if loose else []
    deeper = sum(len(Path(file).parts) > depth + 2 for file, _ in pairs)
    if deeper:
        # Said aloud, because train/anna/1.jpg would make "train" a person.
        notes.append(f"images_in_deeper_folders={deeper} identity_is_folder_level={depth + 1}")
    return Listing.of(root, pairs, notes)


def _files(root: Path) -> list[str]:
    """Every file below root, relative, sorted; what systems leave behind is passed over."""
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not _is_litter(name)]
        relative = Path(folder).relative_to(root)
        found += [(relative / name).as_posix() for name in names if not _is_litter(name)]
    return sorted(found)


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name in ("Thumbs.db", "desktop.ini", "__MACOSX")


def _is_image(file: str) -> bool:
    return Path(file).suffix.lower() in IMAGE_SUFFIXES


def _common_depth(files: Sequence[str]) -> int:
    """How many folders wrap all identities: 1 for att_faces/s1/1.pgm, att_faces/s2/1.pgm, …"""
    folders = [Path(file).parts[:-1] for file in files]
    depth = 0
    while all(len(parts) > depth + 1 for parts in folders) and len({parts[depth] for parts in folders}) == 1:
        depth += 1
    return depth


def _archive_hint(files: Sequence[str]) -> str:
    kinds = Counter(Path(file).suffix.lower() for file in files)
    if archives := sorted(ARCHIVE_SUFFIXES & kinds.keys()):
        return f" ({', '.join(archives)} files are not read: unpack them first)"
    return ": it needs a folder of images for each identity"


def _table(images: Path, labels: Path | None) -> Path | None:
    if labels is None or not labels.is_dir():
        own = images / LABELS_NAME
        return own if own.is_file() else None
    tables = [
        labels / file for file in _files(labels) if Path(file).suffix.lower() in (".csv", ".tsv", ".txt")
    ]
    if len(tables) != 1:
        raise TrainingError(
            f"channels.labels: {len(tables)} tables (.csv, .tsv, .txt) where one is expected, "
            f"with columns file,identity"
        )
    return tables[0]


def _match(file: str, present: set[str]) -> str | None:
    """The file as the channel has it: tables often name it with the channel's own folder in front."""
    if file in present:
        return file
    shorter = file.partition("/")[2]
    return shorter if shorter in present else None
