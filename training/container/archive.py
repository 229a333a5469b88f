"""The files of an earlier job's model.tar.gz, read as it streams past: nothing is unpacked onto the disk."""

import gzip
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from training.container.errors import TrainingError, first_line

# A model of two million identities takes 5 GiB: beyond this an archive is not one of ours.
MOST_FILES = 10_000
MOST_BYTES = 16 * 2**30

_DAMAGED = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError)


def read_files(path: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """The contents of those of the `wanted` files that the archive holds at its top, by name.

    Raises TrainingError where it cannot be read to its end, or unpacks to more than any model holds.
    """
    names = set(wanted)
    try:
        with tarfile.open(path, "r|*") as archive:
            return {name: _content(archive, member) for name, member in _members(archive) if name in names}
    except _DAMAGED as error:
        raise TrainingError(
            f"{path.name} is damaged or no archive ({first_line(error)}): copy it once more"
        ) from None


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Regular files, by their name without a leading "./"; links and devices are passed over."""
    total = 0
    for number, member in enumerate(archive):
        total += member.size
        if number >= MOST_FILES or total > MOST_BYTES:
            raise TrainingError(
                f"{Path(str(archive.name)).name} unpacks to more than {MOST_FILES} files or "
                f"{MOST_BYTES // 2**30} GiB: it is no model of an earlier job"
            )
        if member.isreg():
            yield member.name.removeprefix("./"), member


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # it is a regular file
    content = file.read()
    if len(content) != member.size:
        raise EOFError(f"{member.name} is cut short")
    return content
