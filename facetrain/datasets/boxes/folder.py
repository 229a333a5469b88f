"""Where a detector's dataset has its pictures, its label files and the names of its classes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facetrain.errors import InputError
from training.formats import boxes, classes
from training.formats.errors import DataError
from training.formats.files import files_below, is_image, is_litter
from training.jobs import contract, manifest
from training.jobs.algorithms import ALGORITHMS
from training.jobs.problems import did_you_mean

YAML = (".yaml", ".yml")
YAML_LIMIT = 2**20  # bytes; a dataset's YAML is a page
# Where a dataset's YAML may lie: beside the pictures, and at any depth in the channel or an inputs folder.
YAML_FOLDERS = {"": "*", "cfg": "**/*", "input/data/cfg": "**/*"}


@dataclass(frozen=True)
class Detection:
    """pictures: below `images`. labelled: below `labels`. names: of the classes; empty where nothing says."""

    images: Path
    labels: Path
    pictures: tuple[str, ...]
    labelled: frozenset[str]
    names: tuple[str, ...]


def detection_in(directory: Path, algorithm: str | None = None) -> Detection | None:
    """What a folder of pictures with boxes holds; None where it is one of identities.

    algorithm: which of the two it shall be taken for; else its manifest says, or label files that are called
    like pictures do. Raises InputError where it cannot be read, or names classes that do not fit together.
    """
    named = algorithm or _in_manifest(directory)
    if named is not None and named not in ALGORITHMS:
        raise InputError.because("--algorithm", f'"{named}" is not known{did_you_mean(named, ALGORITHMS)}')
    if not directory.is_dir() or (named is not None and ALGORITHMS[named].identities):
        return None
    images = directory / "images" if (directory / "images").is_dir() else directory
    labels = directory / "labels" if (directory / "labels").is_dir() else images
    if named is None and labels == images:
        return None
    try:
        pictures = tuple(file for file in files_below(images)[0] if is_image(file))
        labelled = frozenset(file for file in files_below(labels)[0] if file.endswith(".txt"))
    except DataError as error:
        raise InputError.because(str(directory), str(error)) from None
    if named is None and not any(boxes.label_of(picture, labelled) for picture in pictures):
        return None
    if not pictures:
        raise InputError.because(str(images), "holds no pictures: put those to train on into images/train")
    return Detection(images, labels, pictures, labelled, class_names(directory))


def _in_manifest(directory: Path) -> str | None:
    file = directory / contract.MANIFEST_NAME
    named = manifest.decode(file.read_bytes()).get("algorithm") if file.is_file() else None
    return named if named in ALGORITHMS else None


def class_names(directory: Path) -> tuple[str, ...]:
    """What the folder's YAML of a dataset names; empty where there is none. Raises InputError."""
    found = list(_datasets(directory))
    if len(found) > 1:
        both = ", ".join(str(file) for file, _ in found)
        raise InputError.because(str(directory), f"holds several YAMLs of datasets ({both}): leave one there")
    try:
        return classes.names_of(found[0][1], str(found[0][0])) if found else ()
    except DataError as error:
        raise InputError.because(str(directory), str(error)) from None


def _datasets(directory: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The YAMLs that name classes."""
    import yaml  # noqa: PLC0415 - only for these, and not each installation has it

    for folder, pattern in YAML_FOLDERS.items():
        for file in sorted((directory / folder).glob(pattern)):
            if any(map(is_litter, file.relative_to(directory).parts)):
                continue  # of a notebook or a system
            if file.suffix.lower() in YAML and file.is_file() and file.stat().st_size <= YAML_LIMIT:
                try:
                    document = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
                except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
                    raise InputError.because(str(file), f"is not YAML ({_line(error)})") from None
                if classes.is_dataset(document):
                    yield file.relative_to(directory), document


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
