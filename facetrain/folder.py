"""A dataset's folder on this machine: its files, laid out as channels, and its manifest, found or built."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facetrain.datasets.layout import CELEBA_TABLE
from facetrain.errors import InputError
from training.jobs import contract, manifest
from training.jobs.algorithms import ALGORITHMS, Algorithm, Knob
from training.jobs.config import convert
from training.jobs.images import IMAGE_SUFFIXES, RECORD_SUFFIX, SHARD_SUFFIX
from training.jobs.problems import Problem, did_you_mean
from training.jobs.uri import KEY_BYTES_LIMIT

CELEBA_TABLES = {CELEBA_TABLE: "labels", "list_landmarks_align_celeba.txt": "landmarks"}


@dataclass(frozen=True)
class File:
    """A file of the dataset: where it is, and its key below the dataset's folder in S3."""

    path: Path
    key: str
    size: int


@dataclass(frozen=True)
class Folder:
    """What a folder holds: the files that will be uploaded, and the manifest that will follow them."""

    files: tuple[File, ...]
    document: bytes

    def below(self, prefix: str) -> list[File]:
        return [file for file in self.files if file.key.startswith(prefix)]

    def people(self, prefix: str) -> dict[str, int]:
        """How many pictures each folder below `prefix` holds: one folder is one person."""
        people: dict[str, int] = {}
        for file in self.below(prefix):
            person, slash, _ = file.key.removeprefix(prefix).partition("/")
            if slash and file.path.suffix.lower() in IMAGE_SUFFIXES:
                people[person] = people.get(person, 0) + 1
        return people


def read_folder(
    directory: Path,
    settings: Iterable[str] = (),
    governance: Mapping[str, str] | None = None,
    input_mode: str | None = None,
    algorithm: str | None = None,
) -> Folder:
    """Reads a dataset's folder. Raises InputError, with every unusable file at once.

    A folder without `images/` is taken for one folder per identity, and these go into `images/`; what is
    named like another channel (labels.csv, cfg/, …) stays beside it. settings: `key=value` hyperparameters
    that are added to the manifest; governance: keys that are added to that block of it; input_mode: how the
    job gets its images, where not as its manifest says, or as suits them where there is none; algorithm: the
    one that the manifest names, where there is no manifest yet.
    """
    found = dict(_walk(directory))
    own = found.pop(contract.MANIFEST_NAME, None)
    document = manifest.decode(_read(own)) if own else None
    kind = _algorithm(algorithm, document)
    has_images = any(key.startswith("images/") for key in found)
    if not has_images and document is None:
        found = {key if _channel(key, kind) else f"images/{key}": path for key, path in found.items()}
    files = _files(found)
    if not files:
        raise InputError.because(
            str(directory), "holds no files: put one folder of photographs per person in it"
        )
    if own and not settings and not governance and not input_mode:
        return Folder(files, _read(own))
    document = document or _built(found, kind)
    if input_mode:
        document = document | {"input_mode": input_mode}
    return Folder(files, _written(document, settings, governance or {}))


def files_in(directory: Path) -> tuple[File, ...]:
    """Every file of a folder that can be put into S3. Raises InputError, with every unusable one at once."""
    return _files(dict(_walk(directory)))


def check_dataset_name(name: str, place: str) -> None:
    """Raises InputError where `name` would be awkward as a folder in S3 and as a part of a job's name."""
    plain = plain_name(name)
    if name and name == plain:
        return
    hint = f', such as "{plain}"' if plain else ""
    raise InputError.because(
        place, f'"{name}" cannot name a dataset: use up to 100 letters, digits, "-", "_" and "."{hint}'
    )


def plain_name(text: str) -> str:
    """What of `text` can name a dataset; may be empty."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in text)
    return plain.lstrip("-_.")[:100]


def _walk(directory: Path) -> Iterator[tuple[str, Path]]:
    """Every file by its path in the folder; hidden ones are left out, links out of it are refused."""
    root = directory.resolve()
    if not root.is_dir():
        raise InputError.because(
            str(directory), "is no folder" if root.exists() else "there is no such folder"
        )
    for at, folders, names in os.walk(root, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (Path(at) / name).is_symlink():
                raise InputError.because(
                    str(Path(at, name)), "is a link to a folder: put the folder itself there"
                )
        for name in sorted(names):
            if not name.startswith(".") and name != contract.REJECTION_NAME:
                yield Path(at, name).relative_to(root).as_posix(), _inside(root, Path(at, name))


def _refuse(error: OSError) -> None:
    raise InputError.because(str(error.filename), f"cannot be read: {error.strerror}")


def _inside(root: Path, path: Path) -> Path:
    if path.is_symlink() and not path.resolve().is_relative_to(root):
        raise InputError.because(
            str(path), f"is a link out of the folder, to {path.resolve()}: copy the file"
        )
    return path


def _files(found: Mapping[str, Path]) -> tuple[File, ...]:
    files, problems = [], []
    for key, path in sorted(found.items()):
        if reason := _unusable(key, path):
            problems.append(Problem(os.fsencode(path).decode(errors="replace"), reason))
        else:
            files.append(File(path, key, path.stat().st_size))
    if problems:
        raise InputError(problems)
    return tuple(files)


def _unusable(key: str, path: Path) -> str | None:
    if not path.is_file():
        return "is no ordinary file, or a link to nothing: leave it out"
    if not os.access(path, os.R_OK):
        return "cannot be read: permission denied"
    try:
        name = key.encode()
    except UnicodeEncodeError:
        return "has a name that is not UTF-8: rename it"
    if any(ord(character) < 32 for character in key):
        return "has a control character in its name: rename it"
    if len(name) > KEY_BYTES_LIMIT - 128:  # what precedes it in the bucket takes the rest
        return f"has a path of {len(name)} bytes, too long for S3: shorten it"
    return None


def _algorithm(named: str | None, document: Mapping[str, Any] | None) -> Algorithm:
    """The one that a folder without a manifest is for. Raises InputError where its manifest names another."""
    if named is None:
        return next(iter(ALGORITHMS.values()))
    if named not in ALGORITHMS:
        raise InputError.because("--algorithm", f'"{named}" is not known{did_you_mean(named, ALGORITHMS)}')
    if document is not None and document.get("algorithm") != named:
        raise InputError.because(
            "--algorithm", f"the folder's {contract.MANIFEST_NAME} names another: change it there"
        )
    return ALGORITHMS[named]


def _channel(key: str, algorithm: Algorithm) -> str | None:
    """The channel that a list of CelebA's is for, or the first part of a path: `labels` of `labels.csv`."""
    if key in CELEBA_TABLES:
        return CELEBA_TABLES[key]
    first = key.partition("/")[0]
    name = first if "/" in key else first.partition(".")[0]
    return name if name in algorithm.channels else None


def _built(found: Mapping[str, Path], algorithm: Algorithm) -> dict[str, Any]:
    """The least manifest for these files: every channel that is there, everything else by default."""
    channels = {}
    for key in found:
        if name := _channel(key, algorithm):
            first, slash, _ = key.partition("/")
            channels[name] = first + slash
    document = {"schema": manifest.SCHEMA_VERSION, "algorithm": algorithm.name, "channels": channels}
    # A few large files need not be copied before training starts. A million small ones would be as many
    # requests, one after another.
    packed = any(key.startswith("images/") and key.lower().endswith(_PACKED) for key in found)
    return document | ({"input_mode": contract.FAST_FILE_MODE} if packed else {})


_PACKED = (SHARD_SUFFIX, RECORD_SUFFIX)


def _written(document: dict[str, Any], settings: Iterable[str], governance: Mapping[str, str]) -> bytes:
    added = {
        "hyperparameters": hyperparameters(document.get("algorithm"), settings),
        "governance": governance,
    }
    for section, values in added.items():
        own = document.get(section, {})
        if values and isinstance(own, dict):
            document = document | {section: {**own, **values}}
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def hyperparameters(algorithm: object, settings: Iterable[str]) -> dict[str, Any]:
    """Hyperparameters from `key=value` texts, each as the kind that it has. Raises InputError with all."""
    known = ALGORITHMS.get(str(algorithm), next(iter(ALGORITHMS.values()))).knobs
    values: dict[str, Any] = {}
    problems = []
    for text in settings:
        name, _, value = text.partition("=")
        try:
            values[name] = _setting(known, text, name, value)
        except ValueError as error:
            problems.append(Problem(f"--set {text}", str(error)))
    if problems:
        raise InputError(problems)
    return values


def _setting(known: Mapping[str, Knob], text: str, name: str, value: str) -> Any:
    if "=" not in text:
        raise ValueError("is not of the form key=value")
    if name not in known:
        raise ValueError(f"no such hyperparameter{did_you_mean(name, known)}")
    return convert(known[name], value)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError.because(str(path), f"cannot be read: {error.strerror}") from None
