"""The files of a channel, and how tables name them."""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from training.formats.errors import DataError
from training.jobs.images import ARCHIVE_SUFFIXES, IMAGE_SUFFIXES, SHARD_SUFFIX

_CANNOT_BE_WRITTEN = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def files_below(root: Path) -> tuple[list[str], int]:
    """Every file below root, relative, sorted, and how many links to folders were passed over.

    So are the things that systems leave behind. Raises DataError for a folder that cannot be read, and
    for a name that could not be written down again.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}): check the folder's rights")

    found: list[str] = []
    links = 0
    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not is_litter(name)]
        links += sum(Path(folder, name).is_symlink() for name in folders)
        relative = Path(folder).relative_to(root).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        found += [prefix + name for name in names if not is_litter(name)]
    for file in found:
        if not file.isprintable() and _CANNOT_BE_WRITTEN.search(file):
            raise DataError(f"{file!a}: its name has control characters or is no UTF-8: rename it")
    return sorted(found), links


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is passed over: it is hidden, or a system left it behind."""
    return name.startswith(".") or name in ("Thumbs.db", "desktop.ini", "__MACOSX")


def is_image(file: str) -> bool:
    return suffix_of(file) in IMAGE_SUFFIXES


def is_archive(file: str) -> bool:
    return suffix_of(file) in ARCHIVE_SUFFIXES or suffix_of(file) == SHARD_SUFFIX


def suffix_of(file: str) -> str:
    """As Path.suffix, in small letters; without a Path, for a million of them take half a minute."""
    stem, dot, suffix = file.rpartition("/")[2].rpartition(".")
    return dot + suffix.lower() if stem and suffix else ""


def normal(name: str) -> str:
    """One way of writing "é", which can be one character or two."""
    return unicodedata.normalize("NFC", name)


def _wrapping(files: Sequence[str]) -> str:
    """`img_align_celeba/` where every image lies below it; else empty."""
    images = [file for file in files if is_image(file)]
    if not images:
        return ""
    # What the first and the last of them lie below, all lie below.
    folder = os.path.commonpath([file.rpartition("/")[0] for file in (min(images), max(images))])
    return f"{folder}/" if folder else ""


class Present:
    """The files of a channel, to be found by the names that tables give them."""

    def __init__(self, files: Sequence[str]):
        self.files = set(files)
        self.wrapping = _wrapping(files)
        self.normal = {normal(file): file for file in files if not file.isascii()}

    def match(self, named: str) -> str | None:
        """Tables often put the channel's own folder in front, or leave out the one that wraps all images."""
        for name in (named, named.partition("/")[2], self.wrapping + named):
            if name in self.files:
                return name
            if found := self.normal.get(normal(name)):
                return found
        return None
