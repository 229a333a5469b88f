"""A model.tar.gz or output.tar.gz, read as it streams: whether it holds a person, and the same without.

classes.csv, head.safetensors   the person's row and centre
report.html                     faces, of nobody by name: all go where the person's may be among them
*.csv                           lines that name the person or a picture of theirs
lineage.json                    the job, and those that its weights came from
"""

import copy
import csv
import gzip
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from facetrain.forgetting import centres, tables
from facetrain.forgetting.centres import Table
from facetrain.forgetting.tables import Named
from training.jobs.contract import LINEAGE_NAME, REPORT_NAME, VERIFIED_NAME
from training.jobs.forgotten import NOTE_NAME

SUFFIXES = (".tar.gz", ".tgz")
DAMAGED = (
    *(tarfile.TarError, gzip.BadGzipFile, zlib.error, csv.Error),
    *(EOFError, ValueError, KeyError, RecursionError),
)
_FACE = re.compile(rb"data:image/jpeg;base64,[A-Za-z0-9+/=]+")
_NAMELESS = re.compile(rb",\r?$", re.MULTILINE)  # a row of verified.csv for a set that says nobody's name
# One grey pixel in place of each.
_NO_FACE = b"data:image/gif;base64,R0lGODlhAQABAIAAALu7uwAAACwAAAAAAQABAAACAkQBADs="
_COMPRESSION = 1  # weights hardly shrink, however long one tries


@dataclass(frozen=True)
class Seen:
    """What an archive holds.

    classes: each model's table, without its content, by the folder that it lies in; tables: other files that
    name the person; pictures: whether there are faces in it; told: whether a table says whose;
    pictures_of_them: how many files lie in a folder of the person's name.
    """

    classes: Mapping[str, Table] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    pictures: bool = False
    told: bool = False
    lineage: Mapping[str, Any] = field(default_factory=dict)
    pictures_of_them: int = 0

    @property
    def learnt(self) -> bool:
        """Whether the person is one of a model's classes."""
        return any(table.numbers for table in self.classes.values())

    @property
    def names(self) -> bool:
        return bool(self.learnt or self.tables or self.pictures_of_them)

    @property
    def verified(self) -> bool:
        """Whether the person was verified on."""
        return any(PurePosixPath(name).name == VERIFIED_NAME for name in self.tables)

    def classes_beside(self, name: str) -> Table | None:
        """Of a head.safetensors with the person's centre: the table that says whose each is."""
        folder, _, base = name.removeprefix("./").rpartition("/")
        table = self.classes.get(folder) if base == centres.HEAD else None
        return table if table and table.numbers else None

    def holds(self, of_the_persons_job: bool) -> bool:
        """Whether anything of the person may be in it. of_the_persons_job: the job may have read them."""
        faces = self.pictures and (self.verified or (of_the_persons_job and not self.told))
        return self.names or faces


def look(archive: BinaryIO, person: Named) -> Seen:
    """Raises one of DAMAGED where the archive cannot be read to its end."""
    classes: dict[str, Table] = {}
    found: list[str] = []
    pictures, told, theirs = False, False, 0
    lineage: Any = {}
    for member, file in _members(archive):
        name = member.name.removeprefix("./")
        theirs += _is_theirs(member, person)
        if file is None:
            continue
        folder, _, base = name.rpartition("/")
        if name == LINEAGE_NAME:
            lineage = json.loads(_small(member, file))
        elif base == REPORT_NAME:
            pictures |= bool(_FACE.search(_small(member, file)))
        elif name.endswith(".csv"):
            data = _small(member, file)
            told |= base == VERIFIED_NAME and not _NAMELESS.search(data)
            if base == centres.TABLE and centres.is_table(data):
                classes[folder] = replace(centres.read_table(data, person.is_identity), rest=b"")
            elif _without(name, data, person)[1]:
                found.append(name)
    lineage = lineage if isinstance(lineage, dict) else {}
    return Seen(classes, tuple(found), pictures, told, lineage, theirs)


def note_in(model: Path) -> str | None:
    """What a model on this machine, a folder or an archive, says of itself; None where that is nothing."""
    try:
        if model.is_dir():
            text = (model / NOTE_NAME).read_bytes() if (model / NOTE_NAME).is_file() else b"{}"
        elif model.name.endswith(SUFFIXES):
            with model.open("rb") as archive:
                notes = (
                    file.read() for member, file in _members(archive) if file and member.name == NOTE_NAME
                )
                text = next(notes, b"{}")
        else:
            return None
        said = json.loads(text).get("what")
    except DAMAGED:
        return None  # who reads the model will say what is wrong with it
    return said if isinstance(said, str) else None


def rewrite(archive: BinaryIO, new: BinaryIO, person: Named, seen: Seen, note: Mapping[str, Any]) -> None:
    """Writes the archive to `new` without the person; `note` goes into a model.

    All faces go, unless the archive says of whom they are and the person is not among them. seen: what
    `look` found in it. Raises one of DAMAGED where the archive cannot be read to its end.
    """
    with tarfile.open(fileobj=new, mode="w:gz", compresslevel=_COMPRESSION) as written:
        for member, file in _members(archive):
            if _is_theirs(member, person):
                continue
            if file is None:
                written.addfile(member)
            elif member.name.removeprefix("./") == NOTE_NAME:
                continue
            elif table := seen.classes_beside(member.name):
                head = centres.without(centres.read_front(file), table.numbers, table.rows)
                _add(written, member, head.size, head.chunks(file))
            else:
                _copy(written, member, file, person, faces=seen.verified or not seen.told)
        if seen.learnt:
            text = json.dumps(note, indent=1).encode() + b"\n"
            _add(written, tarfile.TarInfo(NOTE_NAME), len(text), [text])


def _copy(
    written: tarfile.TarFile, member: tarfile.TarInfo, file: BinaryIO, person: Named, *, faces: bool
) -> None:
    """faces: whether the report's pictures go."""
    name = member.name.removeprefix("./")
    base = PurePosixPath(name).name
    if not (base == REPORT_NAME or name.endswith(".csv")):
        return written.addfile(member, file)
    data = _small(member, file)
    if base == REPORT_NAME:
        data = _FACE.sub(_NO_FACE, data) if faces else data
    elif base == centres.TABLE and centres.is_table(data):
        data = centres.read_table(data, person.is_identity).rest
    else:
        data = _without(name, data, person)[0]
    return _add(written, member, len(data), [data])


def _add(written: tarfile.TarFile, like: tarfile.TarInfo, size: int, chunks: Iterable[bytes]) -> None:
    """A file of this size, otherwise like the one that it replaces."""
    member = copy.copy(like)
    member.size = size
    member.pax_headers = {}  # may repeat the old size
    written.addfile(member, _Chunks(chunks))


def _is_theirs(member: tarfile.TarInfo, person: Named) -> bool:
    """Whether it is the person's folder, or lies in it."""
    parts = PurePosixPath(member.name).parts
    return any(map(person.is_identity, parts if member.isdir() else parts[:-1]))


class _Chunks(io.RawIOBase):
    """Chunks as a file that is read forward."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._left = iter(chunks), b""

    def read(self, size: int = -1) -> bytes:
        while len(self._left) < size and (chunk := next(self._chunks, b"")):
            self._left += chunk
        found, self._left = self._left[:size], self._left[size:]
        return found


def _without(name: str, data: bytes, person: Named) -> tuple[bytes, int]:
    """The table without lines that name the person, and how many there were."""
    lines = data.decode(errors="surrogateescape").splitlines(keepends=True)
    layout = tables.layout_of(name, lines[:2])
    if layout is None:
        return data, 0
    removed, total = tables.count(person, layout, lines)
    rest = "".join(tables.without(person, layout, lines, removed, total))
    return rest.encode(errors="surrogateescape"), removed


def _members(archive: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, BinaryIO | None]]:
    """Each entry, and a regular file's content, which can be read until the next is asked for."""
    with tarfile.open(fileobj=archive, mode="r|gz") as members:
        for member in members:
            yield member, cast(BinaryIO, members.extractfile(member)) if member.isreg() else None


def _small(member: tarfile.TarInfo, file: BinaryIO) -> bytes:
    """The whole of a file that is held in memory. Raises ValueError where it is too large for one of ours."""
    if member.size > centres.LARGEST_TABLE:
        raise ValueError(f"{member.name} has {member.size:,} bytes: that is none of ours")
    return b"".join(centres.read_exactly(file, member.size))
