"""Puts an inputs folder into S3: checked first, its files, and one archive of them as they were.

<prefix>/input/data/cfg/…          what jobs read as their channels
<prefix>/input/data/weights/…
<prefix>/archive/<name>-<digest>.tar.gz
"""

import gzip
import hashlib
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from botocore.exceptions import BotoCoreError, ClientError

from facetrain.by_hand.inputs import README, RESULTS
from facetrain.client import explain
from facetrain.datasets.boxes.folder import class_names
from facetrain.errors import InputError, OperationError
from facetrain.folder import File, files_in
from facetrain.patience import Patience
from facetrain.storage import Store
from facetrain.uploads import Uploads
from training.formats.files import is_archive
from training.jobs import contract
from training.jobs.algorithms import ALGORITHMS, Algorithm
from training.jobs.config import ConfigError, parse_train_args, resolve
from training.jobs.problems import Problem, did_you_mean
from training.jobs.uri import S3Uri

DATA = "input/data/"
ARCHIVES = "archive/"
PREFIX = "sagemaker_training_jobs/"  # where such folders lie, if nothing else is said
_DIGEST = 12  # characters


@dataclass(frozen=True)
class Inputs:
    """A folder that is right. files: all that will be sent, by their keys below it."""

    name: str
    algorithm: str
    files: tuple[File, ...]

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Sent:
    """What a push did."""

    inputs: str
    archive: str
    sha256: str  # of the archive
    algorithm: str
    uploaded: int  # files, the archive not among them
    unchanged: int
    strays: list[str]  # keys below input/data/ that the folder does not hold: jobs read them, too


def read(directory: Path, algorithm: str | None = None) -> Inputs:
    """Checks a folder. Raises InputError, or ConfigError for train-args.json, with every problem.

    algorithm: whose inputs they are; else the first that reads the most files in cfg.
    """
    files = tuple(file for file in files_in(directory) if not file.key.startswith((RESULTS, ARCHIVES)))
    if not any(file.key.startswith(DATA) for file in files):
        raise InputError.because(
            str(directory), f"holds no {DATA}: put cfg/ and weights/ there, as docs/by-hand.md shows"
        )
    kind = _algorithm(algorithm, files)
    if problems := list(_problems(files, kind)):
        raise InputError(problems)
    _check_train_args(directory, kind)
    if not kind.identities:
        class_names(directory)
    return Inputs(directory.resolve().name, kind.name, files)


def push(
    inputs: Inputs,
    target: S3Uri,
    store: Store,
    sent: Callable[[int], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> Sent:
    """Uploads the archive, then what is new of the files. target: a folder. Raises OperationError."""
    stopped = Event()
    uploads = Uploads(store.s3, Patience(note, stopped), stopped, sent, sent)
    pairs = [(target.join(file.key), file) for file in inputs.files]
    with tempfile.TemporaryDirectory(prefix="facetrain-inputs-") as scratch:
        packed = Path(scratch) / "inputs.tar.gz"
        digest = archive(inputs.files, packed)
        place = target.join(f"{ARCHIVES}{inputs.name}-{digest[:_DIGEST]}.tar.gz")
        try:
            held = dict(store.sizes(target))
            uploads.send(target, [(place, File(packed, place.name, packed.stat().st_size))])
            new = uploads.new_among(pairs, held, store)
            uploads.send(target, new)
        except (BotoCoreError, ClientError) as error:
            raise OperationError(
                f"{explain(error)}; the same command again sends only what is missing"
            ) from None
    mine = {uri.key for uri, _ in pairs}
    strays = sorted(key for key in held if key.startswith(target.key + DATA) and key not in mine)
    unchanged = len(pairs) - len(new)
    return Sent(str(target), str(place), digest, inputs.algorithm, len(new), unchanged, strays)


def archive(files: Sequence[File], path: Path) -> str:
    """Writes a tar.gz and gives its SHA-256. The same files give the same bytes, whoever writes it.

    Raises OperationError where a file cannot be read, or the disk is full.
    """
    try:
        with (
            path.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as written,
        ):
            for file in files:
                member = tarfile.TarInfo(file.key)
                member.size = file.size
                with file.path.open("rb") as content:
                    written.addfile(member, content)
    except OSError as error:
        raise OperationError(
            f"the archive cannot be written to {path.parent} ({error.strerror or error}): free some space "
            "there, or name another folder with TMPDIR"
        ) from None
    with path.open("rb") as made:
        return hashlib.file_digest(made, "sha256").hexdigest()


def _algorithm(named: str | None, files: Sequence[File]) -> Algorithm:
    if named is not None:
        if named not in ALGORITHMS:
            raise InputError.because(
                "--algorithm", f'"{named}" is not known{did_you_mean(named, ALGORITHMS)}'
            )
        return ALGORITHMS[named]
    return min(ALGORITHMS.values(), key=lambda kind: len(_unread(files, kind)))


def _unread(files: Sequence[File], algorithm: Algorithm) -> list[File]:
    """What lies in cfg, and the algorithm does not read."""
    cfg = [file for file in files if file.key.startswith(f"{DATA}cfg/") and file.path.name != README]
    return [file for file in cfg if file.path.suffix.lower() not in algorithm.cfg]


def _problems(files: Sequence[File], algorithm: Algorithm) -> Iterator[Problem]:
    data = [file.key.removeprefix(DATA) for file in files if file.key.startswith(DATA)]
    for name in sorted({key.partition("/")[0] for key in data}):
        if name not in algorithm.channels and name != README:
            hint = did_you_mean(name, algorithm.channels)
            yield Problem(f"{DATA}{name}", f"{algorithm.name} has no such channel{hint}")
    for file in _unread(files, algorithm):
        read = ", ".join(algorithm.cfg)
        remedy = "unpack it there" if is_archive(file.key) else "leave it out"
        yield Problem(file.key, f"is not read by {algorithm.name}, which takes {read}: {remedy}")
    for file in files:
        if not file.size:
            yield Problem(file.key, "is empty: leave it out, or copy it again")


def _check_train_args(directory: Path, algorithm: Algorithm) -> None:
    path = directory / DATA / "cfg" / contract.TRAIN_ARGS_NAME
    if not path.is_file():
        return
    try:
        resolve(algorithm, parse_train_args(path.read_text(encoding="utf-8-sig")), {})
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text ({error.reason}): save it as UTF-8"
        raise ConfigError([Problem(f"cfg/{contract.TRAIN_ARGS_NAME}", message)]) from None
