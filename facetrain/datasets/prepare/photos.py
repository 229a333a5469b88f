"""The photos below a folder, whose they are, and what their faces will be called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from facetrain.datasets.layout import table_in
from facetrain.errors import InputError
from training.formats.errors import DataError
from training.formats.files import Present, files_below, is_image, suffix_of
from training.formats.labels import read_labels
from training.formats.words import many
from training.jobs.images import RECORD_SUFFIX, SHARD_SUFFIX, without_images

# How pictures begin, for those whose names do not say so.
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P2", b"P3", b"P5", b"P6")


@dataclass(frozen=True)
class Photo:
    """file: relative to SRC; face: relative to DEST, without a suffix; empty where nobody's name is known."""

    file: str
    face: str


@dataclass(frozen=True)
class Photos:
    """What a folder holds; the counts are of what was passed over."""

    photos: tuple[Photo, ...]
    others: int  # files that are no pictures
    links: int  # to folders, or out of SRC


def find_photos(source: Path, labels: Path | None) -> Photos:
    """Every picture below `source`, by its name or its first bytes.

    A photo belongs to the folder that it lies in, or to whom the table says: `labels`, or one that lies in
    `source` under a usual name. Raises InputError where there is none, or a name cannot be used.
    """
    own = table_in(source)
    labels = labels or (own if own and own.is_file() else None)
    try:
        files, links = files_below(source)
        named = read_labels(labels) if labels else None
    except DataError as error:
        raise InputError.because("SRC" if labels is None else "--labels", str(error)) from None
    root = source.resolve()
    inside = [file for file in files if _stays_inside(root, source / file)]
    pictures = [file for file in inside if is_image(file) or _begins_as_picture(source / file)]
    if not pictures:
        raise InputError.because("SRC", f"{source} holds no pictures{_instead(files)}")
    folders = _from_table(pictures, named) if named is not None else {}
    if named is None:
        folders = {file: PurePosixPath(file).parent.as_posix() for file in pictures if "/" in file}
    faces = _faces(pictures, folders)
    return Photos(
        tuple(Photo(file, faces.get(file, "")) for file in pictures),
        others=len(inside) - len(pictures),
        links=links + len(files) - len(inside),
    )


def _instead(files: Sequence[str]) -> str:
    if any(suffix_of(file) in (SHARD_SUFFIX, RECORD_SUFFIX) for file in files):
        return ", but shards or .rec files: take them apart first (facetrain dataset unpack)"
    return (
        f" among {many(len(files), 'file')}{without_images(files)}"
        if files
        else ": give a folder for each person"
    )


def _stays_inside(root: Path, path: Path) -> bool:
    return not path.is_symlink() or path.resolve().is_relative_to(root)


def _begins_as_picture(path: Path) -> bool:
    if not path.is_file():  # a pipe would wait for its writer
        return False
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return start.startswith(_BEGINNINGS) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def _from_table(pictures: Sequence[str], named: Mapping[str, str]) -> dict[str, str]:
    for identity in sorted(set(named.values())):
        if "/" in identity or "\\" in identity or identity.startswith(".") or not identity.isprintable():
            raise InputError.because(
                "--labels", f'"{identity!s:.80}" cannot name a folder: rename the identity'
            )
    present = Present(pictures)
    return {file: identity for name, identity in named.items() if (file := present.match(name)) is not None}


def _faces(pictures: Sequence[str], folders: Mapping[str, str]) -> dict[str, str]:
    """A name for each face, without a suffix: the photo's, with a number where two would be the same."""
    taken: set[str] = set()
    faces = {}
    for file in pictures:
        if file not in folders:
            continue
        name = PurePosixPath(file)
        stem = name.stem if is_image(file) else name.name
        face, number = f"{folders[file]}/{stem}", 1
        while face.casefold() in taken:  # some disks tell no A from a
            number += 1
            face = f"{folders[file]}/{stem}-{number}"
        taken.add(face.casefold())
        faces[file] = face
    return faces
