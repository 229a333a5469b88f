"""What is verified on: pairs of images, drawn from identities, named by a list, or held by a .bin."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from training.arcface.data.store import Dataset, Images
from training.arcface.verification.groups import Groups
from training.arcface.verification.pairs import draw
from training.container.errors import TrainingError
from training.formats import bins
from training.formats.files import Present, files_below, is_image, normal
from training.formats.listing import Listing
from training.formats.lists import PairList, Picture, read_pairs_table, read_pairs_txt

FOLDS_OF_BIN = 10


@dataclass(frozen=True)
class EvaluationSet:
    """Distinct images, and which of them are compared.

    Raises TrainingError where there are no pairs of one person, or none of two.
    """

    name: str
    images: Images
    count: int  # distinct images
    first: NDArray[np.int64]  # (pairs,), indices of images
    second: NDArray[np.int64]
    same: NDArray[np.bool_]
    folds: NDArray[np.int64] | None = None  # (pairs,), where the set's authors say them
    labels: NDArray[np.int64] | None = None  # (images,), whose each is
    groups: Groups | None = None

    def __post_init__(self) -> None:
        if self.same.all() or not self.same.any():
            genuine = int(self.same.sum())
            raise TrainingError(
                f"the verification set {self.name} has {genuine} pairs of one person and "
                f"{len(self.same) - genuine} of two: it needs both kinds"
            )

    def line(self) -> str:
        """As the log says it."""
        return f"verification_set name={self.name} pairs={len(self.same)} images={self.count}"


def of_identities(
    name: str, dataset: Dataset, seed: int, groups: Mapping[str, str] | None = None
) -> EvaluationSet:
    """Pairs that the seed draws from the images of identities. groups: of each file or identity."""
    labels = dataset.listing.labels
    pairs = draw(labels, seed)
    both = np.concatenate([pairs.genuine, pairs.impostor])
    return EvaluationSet(
        name,
        dataset.images,
        len(labels),
        both[:, 0],
        both[:, 1],
        np.arange(len(both)) < len(pairs.genuine),
        labels=labels,
        groups=Groups.of_images(dataset.listing, groups or {}),
    )


def of_bin(name: str, path: Path, threads: int = 1) -> EvaluationSet:
    """InsightFace's .bin. Images that come again are taken once.

    Folds are tenths of the pairs in their order, the first ones longer by one pair where they do not come out
    even: as scikit-learn's KFold parts them for arcface_torch.
    """
    encoded, same = bins.read_encoded(path, path.name)
    numbers: dict[bytes, int] = {}
    indices = np.array([numbers.setdefault(bins.key(item), len(numbers)) for item in encoded])
    _, places = np.unique(indices, return_index=True)
    images = bins.BinImages([encoded[place] for place in places.tolist()], path.name, threads)
    sizes = [len(part) for part in np.array_split(same, FOLDS_OF_BIN)]
    folds = np.repeat(np.arange(FOLDS_OF_BIN), sizes) if min(sizes) else None
    return EvaluationSet(name, images, len(numbers), indices[0::2], indices[1::2], same, folds)


def of_list(
    name: str,
    path: Path,
    folder: Path,
    opened: Callable[[Listing], Dataset],
    *,
    most_missing: float,
    groups: Mapping[str, str],
    log: Callable[[str], None],
) -> tuple[EvaluationSet, Dataset]:
    """The pairs of pairs.txt or a table, of images below a folder; and those images.

    Pairs with an image that is missing or unreadable are left out. Raises TrainingError where more than
    `most_missing` of the images are not there.
    """
    by_number = path.suffix.lower() == ".txt"
    pairs = read_pairs_txt(path) if by_number else read_pairs_table(path)
    files = [file for file in files_below(folder)[0] if is_image(file)]
    found = _by_number(pairs, files) if by_number else _by_path(pairs, files)
    missing = sum(picture not in found for picture in pairs.pictures())
    if missing:
        log(f"missing_images set={name} missing={missing} of={len(pairs.pictures())}")
    if missing > most_missing * len(pairs.pictures()):
        raise TrainingError(_too_few(path, folder, missing, len(pairs.pictures()), by_number))
    owners = {file: picture[0] if isinstance(picture, tuple) else "" for picture, file in found.items()}
    dataset = opened(Listing.of(folder, list(owners.items())))
    return _of_pairs(name, pairs, found, dataset, groups=groups, named=by_number), dataset


def _of_pairs(
    name: str,
    pairs: PairList,
    found: Mapping[Picture, str],
    dataset: Dataset,
    *,
    groups: Mapping[str, str],
    named: bool,
) -> EvaluationSet:
    """named: whether the list says whose each image is."""
    place = {file: index for index, file in enumerate(dataset.listing.files)}
    first, second = (
        np.array([place.get(found.get(picture, ""), -1) for picture in side])
        for side in (pairs.first, pairs.second)
    )
    whole = (first >= 0) & (second >= 0)
    return EvaluationSet(
        name,
        dataset.images,
        len(dataset.listing),
        first[whole],
        second[whole],
        pairs.same[whole],
        folds=None if pairs.folds is None else pairs.folds[whole],
        labels=dataset.listing.labels if named else None,
        groups=Groups.of_images(dataset.listing, groups),
    )


def _by_path(pairs: PairList, files: Sequence[str]) -> dict[Picture, str]:
    present = Present(files)
    matches = {picture: present.match(str(picture)) for picture in pairs.pictures()}
    return {picture: file for picture, file in matches.items() if file is not None}


def _by_number(pairs: PairList, files: Sequence[str]) -> dict[Picture, str]:
    """name/name_0001.jpg of (name, 1): any suffix, any number of zeros, any folders; its own is preferred."""
    numbered: dict[Picture, str] = {}
    for file in files:
        path = PurePosixPath(normal(file))
        owner, _, number = path.stem.rpartition("_")
        if number.isdecimal() and (path.parent.name == owner or (owner, int(number)) not in numbered):
            numbered[owner, int(number)] = file
    return {picture: numbered[picture] for picture in pairs.pictures() if picture in numbered}


def _too_few(path: Path, folder: Path, missing: int, count: int, by_number: bool) -> str:
    layout = "NAME/NAME_0001.jpg, with any image's suffix," if by_number else "a path relative to that folder"
    return (
        f"{path.name}: {missing} of its {count} images are not in {folder.name}/, more than max_unreadable "
        f"allows: each is looked for as {layout}: put the images beside it, or raise max_unreadable"
    )
