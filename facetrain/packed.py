"""What can be told of shards and .rec files before hours are spent on sending them: a look at their ends."""

from collections.abc import Iterator, Mapping

from facetrain.datasets.index import INDEX_NAME, Index, read_index
from facetrain.errors import InputError
from facetrain.folder import File, Folder
from training.formats.errors import DataError
from training.formats.records import HEAD_BYTES, data_after
from training.jobs.images import RECORD_SUFFIX, SHARD_SUFFIX
from training.jobs.problems import Problem

_BLOCK = 512  # of a tar, whose end is a block of zeros
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK")
_AGAIN = "copy it again"


def check_packed(folder: Folder, prefix: str) -> Index | None:
    """The index of packed shards below `prefix`, if there is one.

    Raises InputError with every file that is not as the index says, is cut short, or is none of its kind.
    """
    (found, *_) = [*folder.below(prefix + INDEX_NAME), None]
    try:
        index = read_index(found.path.parent) if found else None
    except DataError as error:
        raise InputError.because("channels.images", str(error)) from None
    files = {file.key: file for file in folder.below(prefix)}
    problems = list(_unlike(index, files, prefix)) if index else []
    if problems := problems or list(_wrong(files)):
        raise InputError(problems)
    return index


def _unlike(index: Index, files: Mapping[str, File], prefix: str) -> Iterator[Problem]:
    for one in index.files():
        file = files.get(prefix + one.name)
        if file is None or file.size != one.bytes:
            has = f"has {file.size:,} bytes" if file else "is missing"
            says = f"where {INDEX_NAME} says {one.bytes:,}: copy or pack the dataset once more"
            yield Problem(prefix + one.name, f"{has} {says}")


def _wrong(files: Mapping[str, File]) -> Iterator[Problem]:
    for key, file in files.items():
        stem, dot, suffix = key.rpartition(".")
        if dot + suffix.lower() not in (SHARD_SUFFIX, RECORD_SUFFIX):
            continue
        if not file.size:
            wrong = f"is empty: {_AGAIN}"
        elif dot + suffix.lower() == SHARD_SUFFIX:
            wrong = _of_shard(file)
        else:
            wrong = _of_records(file, files.get(f"{stem}.idx"))
        if wrong:
            yield Problem(key, wrong)


def _of_shard(file: File) -> str:
    """Why it cannot be read; empty where nothing shows."""
    with file.path.open("rb") as opened:
        if opened.read(6).startswith(_COMPRESSED):
            return "is compressed, but a shard is a plain tar: unpack it first"
        opened.seek(max(0, file.size - _BLOCK))
        ended = file.size % _BLOCK == 0 and opened.read(_BLOCK) == bytes(_BLOCK)
    return "" if ended else f"is cut short, or no tar: the end of its archive is missing: {_AGAIN}"


def _of_records(file: File, index: File | None) -> str:
    """By the record that lies last, as the .idx has it: whether it is one, and ends within the file."""
    last = _last_offset(index) if index else 0
    if last is None:
        return f"its .idx is no list of keys and offsets: {_AGAIN}"
    if last + HEAD_BYTES > file.size:
        return f"is cut short, or its .idx belongs to another: that points behind its end: {_AGAIN}"
    with file.path.open("rb") as opened:
        opened.seek(last)
        length = data_after(opened.read(HEAD_BYTES))
    if length is None:
        return f"has no record at byte {last:,}: it is no .rec, or its .idx belongs to another: {_AGAIN}"
    end = last + HEAD_BYTES + length
    short = f"is cut short: its last record ends at byte {end:,} of {file.size:,}: {_AGAIN}"
    return short if index and end > file.size else ""


def _last_offset(index: File) -> int | None:
    last = 0
    try:
        with index.path.open(encoding="ascii") as lines:
            for line in lines:
                offset = int(line.split()[1]) if line.strip() else 0
                if offset < 0:
                    return None
                last = max(last, offset)
    except (ValueError, IndexError):
        return None
    return last
