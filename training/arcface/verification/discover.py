"""Which sets a folder holds: each .bin, each list of pairs with its images, other images by identity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training.arcface.data import split
from training.arcface.data.store import Dataset
from training.arcface.verification import groups
from training.arcface.verification.sets import EvaluationSet, of_bin, of_identities, of_list
from training.formats import listing as listings
from training.formats import records, shards
from training.formats.files import files_below, is_image
from training.formats.listing import Listing

IDENTITIES = "identities"
BIN = ".bin"
LISTS = (".txt", ".csv", ".tsv")


@dataclass(frozen=True)
class Found:
    """The sets, and the images of those that say whose they are; `identities` are those of the folders."""

    sets: tuple[EvaluationSet, ...]
    named: tuple[Dataset, ...]
    identities: Dataset | None = None


@dataclass(frozen=True)
class Finder:
    """Opens sets. `opened` decodes a listing's images, calling them by a channel's name in the log."""

    opened: Callable[[Listing, str], Dataset]
    seed: int
    max_unreadable: float
    threads: int
    log: Callable[[str], None]

    def find(self, root: Path, channel: str) -> Found:
        """Every set below a folder, by name. Raises TrainingError where there is none, or one is not usable.

        A list is of the images below its own folder, or, where there are none, of all. Those belong to it:
        other images make a set of identities.
        """
        files = files_below(root)[0]
        names = Names()
        sets = [
            of_bin(names.of(file), root / file, self.threads)
            for file in files
            if PurePosixPath(file).suffix.lower() == BIN
        ]
        lists = {file: _folder_of(file, files) for file in files if is_list(file)}
        named = []
        for file, folder in lists.items():
            one, dataset = self.of_list(root / file, root / folder, names.of(file), channel)
            sets.append(one)
            named.append(dataset)
        identities = None
        if _is_needed(files, tuple(lists.values()), bool(sets)):
            listing = listings.find(root, None, channel, without=tuple(lists.values()))
            split.refuse_unverifiable(listing)
            identities = self.opened(listing, channel)
            split.refuse_unverifiable(identities.listing)
            of_group = groups.read([root])
            sets.append(of_identities(names.of(IDENTITIES), identities, self.seed, of_group))
            named.append(identities)
        return Found(tuple(sets), tuple(named), identities)

    def of_list(self, path: Path, folder: Path, name: str, channel: str) -> tuple[EvaluationSet, Dataset]:
        """The set of one list of pairs, of images below a folder."""
        return of_list(
            name,
            path,
            folder,
            lambda listing: self.opened(listing, channel),
            most_missing=self.max_unreadable,
            groups=groups.read({path.parent, folder}),
            log=self.log,
        )


class Names:
    """Names for sets: the file's without its suffix, with a number where two would have the same."""

    def __init__(self) -> None:
        self.given: set[str] = set()

    def of(self, file: str) -> str:
        path = PurePosixPath(file)
        plain = path.parent.name if path.stem.lower() == "pairs" and path.parent.name else path.stem
        plain = "_".join(plain.split()) or "set"  # a blank would end it in the log
        name, number = plain, 2
        while name in self.given:
            name, number = f"{plain}_{number}", number + 1
        self.given.add(name)
        return name


def is_list(file: str) -> bool:
    path = PurePosixPath(file)
    return "pairs" in path.stem.lower() and path.suffix.lower() in LISTS


def _folder_of(file: str, files: Sequence[str]) -> str:
    """The folder whose images a list is of, relative; "" for all."""
    folder = PurePosixPath(file).parent.as_posix()
    own = any(other.startswith(f"{folder}/") and is_image(other) for other in files)
    return folder if own else ""


def _is_needed(files: Sequence[str], taken: tuple[str, ...], others: bool) -> bool:
    """Whether there are images of identities: some that no list has, or nothing at all, to be told why."""
    if "" in taken:
        return False
    packed = (shards.SUFFIX, records.SUFFIX)
    left = [file for file in files if not file.startswith(tuple(f"{folder}/" for folder in taken))]
    found = any(is_image(file) or PurePosixPath(file).suffix.lower() in packed for file in left)
    return found or not others
