"""Names and numbers of identities that will cause trouble, and folders that hold nobody."""

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from training.formats.listing import Listing
from training.formats.names import read_names
from training.jobs.uri import KEY_BYTES_LIMIT

KEY_BYTES = KEY_BYTES_LIMIT - 128  # as dataset push has it: what precedes a path in the bucket takes the rest
LISTED = 20  # class numbers without an image


def troubles(listing: Listing) -> Iterator[tuple[str, str]]:
    """Names of identities and files, each with what is wrong."""
    alike: dict[str, str] = {}
    for name in listing.identities:
        if reason := _trouble(name):
            yield name, reason
        first = alike.setdefault(_plain(name), name)
        if first != name:
            yield name, f'differs from "{first}" only in capitals, blanks or accents: perhaps one person'
    for file in listing.files:
        if ".." in file.split("/") or file.startswith("/"):
            yield file, "leads out of its folder; it is read in place, but unpacking it would be refused"
        elif len(file) > KEY_BYTES // 4 and len(file.encode()) > KEY_BYTES:
            yield file, f"is a path of {len(file.encode())} bytes, too long for S3: shorten it"


def _trouble(name: str) -> str:
    if name != name.strip():
        return "begins or ends with a blank"
    if name in (".", "..") or "/" in name or "\\" in name:
        return "cannot be the name of a folder"
    if not name.isprintable():
        return "has characters that cannot be seen"
    return ""


def _plain(name: str) -> str:
    """The same for names that people take for one."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").split())


def class_gaps(listing: Listing) -> dict[str, object] | None:
    """Which class numbers have no image; None where the identities are not numbered classes.

    Of shards and .rec: numbers from 0 on, or those that identities.csv names.
    """
    if listing.spans is None:
        return None
    if names := read_names(listing.root, "images"):
        present = set(listing.identities)
        absent = [number for number, name in names.items() if name not in present]
        return _gaps(len(names), len(absent), absent)
    if not all(name.isascii() and name.isdigit() for name in listing.identities):
        return None
    numbers = sorted({int(name) for name in listing.identities})
    count = numbers[-1] + 1
    return _gaps(count, count - len(numbers), [str(number) for number in _first_missing(numbers)])


def _gaps(classes: int, missing: int, first: Sequence[str]) -> dict[str, object]:
    return {"classes": classes, "missing": missing, "first": list(first[:LISTED])}


def _first_missing(numbers: Sequence[int]) -> list[int]:
    """At most LISTED of them: a label may be four billion."""
    found: list[int] = []
    expected = 0
    for number in numbers:
        found += range(expected, min(number, expected + LISTED))
        if len(found) >= LISTED:
            break
        expected = number + 1
    return found[:LISTED]


def empty_folders(root: Path, listing: Listing, without: Sequence[str]) -> list[str]:
    """Folders without an image in or below them, relative, the topmost of each; none for shards and .rec."""
    if listing.spans is not None:
        return []
    used = {""}
    for file in listing.files:
        folder = file.rpartition("/")[0]
        while folder not in used:
            used.add(folder)
            folder = folder.rpartition("/")[0]
    found = []
    for at, folders, _ in os.walk(root):
        below = Path(at).relative_to(root)
        named = {name: (below / name).as_posix() for name in sorted(folders) if not name.startswith(".")}
        kept = {name: path for name, path in named.items() if path not in without}
        found += [path for path in kept.values() if path not in used]
        folders[:] = [name for name, path in kept.items() if path in used]
    return found


def notes_of(listing: Listing) -> Mapping[str, int]:
    """What the trainer's log will say of the listing, `name=count`."""
    words = [word.partition("=") for note in listing.notes for word in note.split()]
    return {name: int(count) for name, _, count in words if count.isdigit()}
