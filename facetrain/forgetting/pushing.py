"""Who is forgotten is not put into S3 again: pictures stay behind, what else holds the person is refused."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from facetrain.errors import InputError
from facetrain.folder import File, Folder
from training.formats.errors import DataError
from training.formats.files import is_image
from training.formats.labels import LABELS_NAME, TABLE_SUFFIXES, read_labels
from training.formats.names import NAMES_TABLE, read_names
from training.formats.words import many, people
from training.jobs.forgotten import Forgotten
from training.jobs.images import RECORD_SUFFIX, SHARD_SUFFIX
from training.jobs.problems import Problem

_CHANNELS = ("images", "validation")
_LIST = "who must be forgotten"


@dataclass(frozen=True)
class Kept:
    """What may be pushed, and how much stays behind."""

    folder: Folder
    people: int = 0
    pictures: int = 0

    @property
    def note(self) -> str | None:
        if not self.people:
            return None
        return (
            f"left out {many(self.pictures, 'picture')} of {people(self.people)} {_LIST} "
            "(on the deletion list): delete their pictures on this machine, too"
        )


def without_forgotten(folder: Folder, dataset: str, prefixes: Mapping[str, str], listed: Forgotten) -> Kept:
    """The folder without pictures in folders of people on the list.

    prefixes: where each channel's files lie, as keys of the folder. Raises InputError, naming every file,
    where a table, shards or a .rec hold somebody on the list.
    """
    problems = [
        Problem(place, _refusal(found))
        for place, identities in _packed(folder, prefixes)
        if (found := [identity for identity in identities if listed.holds(dataset, identity)])
    ]
    if problems:
        raise InputError(problems)
    known: dict[str, bool] = {}

    def is_forgotten(name: str) -> bool:
        if name not in known:
            known[name] = listed.holds(dataset, name)
        return known[name]

    people, stay, pictures = set[str](), list[File](), 0
    for file in folder.files:
        found = [name for name in _folders(file, prefixes) if is_forgotten(name)]
        people |= set(found)
        pictures += bool(found) and is_image(file.key)
        stay += [] if found else [file]
    return Kept(replace(folder, files=tuple(stay)), len(people), pictures)


def _folders(file: File, prefixes: Mapping[str, str]) -> list[str]:
    """The folders that a file lies in, below its channel: one of them is whose a picture is, or a film."""
    for channel in _CHANNELS:
        if channel in prefixes and file.key.startswith(prefixes[channel]):
            return file.key.removeprefix(prefixes[channel]).split("/")[:-1]
    return []


def _packed(folder: Folder, prefixes: Mapping[str, str]) -> Iterator[tuple[str, set[str]]]:
    """What names people otherwise than by folders, and whom. What cannot be read, other checks tell of."""
    tables = [*folder.below(prefixes["labels"])] if "labels" in prefixes else []
    for channel in _CHANNELS:
        below = folder.below(prefixes[channel]) if channel in prefixes else []
        tables += [file for file in below if file.path.name == LABELS_NAME]
        packed = [file for file in below if file.path.suffix.lower() in (SHARD_SUFFIX, RECORD_SUFFIX)]
        for root in sorted({file.path.parent for file in packed}):
            yield str(root), _within(root)
    for table in tables:
        if table.path.suffix.lower() in TABLE_SUFFIXES:
            yield str(table.path), _named_in(table.path)


def _within(root: Path) -> set[str]:
    """Of shards and .rec: by their table of names where there is one, for to read them takes long."""
    try:
        if (root / NAMES_TABLE).is_file():
            return set(read_names(root, "images").values())
        from training.formats.listing import find  # noqa: PLC0415 - loads numpy, which a push has no other need of

        return set(find(root, None).identities)
    except DataError:
        return set()


def _named_in(table: Path) -> set[str]:
    try:
        return set(read_labels(table).values())
    except DataError:
        return set()


def _refusal(found: list[str]) -> str:
    return (
        f'holds {people(len(found))} {_LIST} (such as "{found[0]}"): take their lines and pictures out, '
        "or pack it again without them"
    )
