"""The pictures and boxes of a job: what is trained on, and what detection is measured on.

    images/train/…   labels/train/…    a label file has its picture's name: train/a.jpg, train/a.txt
    images/val/…     labels/val/…      where there is none, a share of the others is taken, by the seed

The dataset's YAML may name other folders of the channel. Without the folder `train` all pictures of the
channel are trained on; without the channel `labels` the label files lie beside the pictures.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from training.container.errors import TrainingError, first_line
from training.container.unreadable import refuse_unreadable
from training.formats import boxes
from training.formats.boxes import Boxes
from training.formats.errors import DataError
from training.formats.files import files_below, is_archive, is_image
from training.jobs.contract import ContainerPaths

TRAIN, VAL = "train", "val"
LARGEST_LABEL = 16 * 2**20  # bytes: 300,000 boxes
THREADS = 16  # S3 may be behind the files


@dataclass(frozen=True)
class Pictures:
    """files: below `root`. boxes: of each."""

    root: Path
    files: tuple[str, ...]
    boxes: tuple[Boxes, ...]

    def __len__(self) -> int:
        return len(self.files)

    def only(self, chosen: Sequence[int]) -> "Pictures":
        return Pictures(
            self.root,
            tuple(self.files[number] for number in chosen),
            tuple(self.boxes[number] for number in chosen),
        )

    def objects(self) -> int:
        return sum(map(len, self.boxes))


@dataclass(frozen=True)
class Data:
    """val: empty where nothing is measured on, and `reason` says why. lines: for the log."""

    classes: tuple[str, ...]
    train: Pictures
    val: Pictures
    reason: str = ""
    unreadable: tuple[tuple[str, str], ...] = ()  # (file, why) of those that are left out
    unlabelled: int = 0  # pictures without a label file: with nothing in them
    lines: tuple[str, ...] = field(default=())


def load(
    paths: ContainerPaths,
    classes: Sequence[str],
    named: Mapping[str, Sequence[str]],
    *,
    val_fraction: float,
    max_unreadable: float,
    seed: int,
    check_stop: Callable[[], None],
) -> Data:
    """Raises TrainingError where there is nothing to train on, or what there is does not fit together.

    named: the dataset YAML's paths by their role, on whatever machine it was written.
    """
    images, labels = paths.channel("images"), paths.channel("labels")
    mine, lines = _by_role(images, named)
    reader = _Reader(images, labels if labels.is_dir() else images, len(classes), check_stop)
    read = {role: reader.read(files) for role, files in mine.items()}
    reader.refuse(max_unreadable, list(classes))
    train, val, reason = read[TRAIN], read.get(VAL), ""
    if val is None:
        train, val, reason = _split(train, val_fraction, seed)
    if not train.objects():
        raise TrainingError("no picture to train on has a box: see that labels has a file for each picture")
    if not val.objects() and not reason:
        reason = "no picture to measure on has a box"
    return Data(
        tuple(classes),
        train,
        val,
        reason,
        tuple(sorted(reader.unreadable.items())),
        len(reader.unlabelled),
        (*lines, *reader.lines()),
    )


def _by_role(images: Path, named: Mapping[str, Sequence[str]]) -> tuple[dict[str, list[str]], list[str]]:
    """The pictures of each role, TRAIN and maybe VAL, and lines for the log. Raises TrainingError.

    A folder within a folder has the role of the inner one, and none is measured on that is trained on.
    """
    train = _folders(images, TRAIN, named)
    val = [folder for folder in _folders(images, VAL, named) if folder not in train]
    if not val and f"{VAL}/" not in train:
        val = _folders(images, VAL, {})
    mine: dict[str, list[str]] = {TRAIN: [], VAL: [], "": []}
    by_length = sorted({**dict.fromkeys(val, VAL), **dict.fromkeys(train, TRAIN)}.items(), key=_length)
    files, _ = files_below(images)
    for file in filter(is_image, files):
        mine[next((role for folder, role in by_length if file.startswith(folder)), "")].append(file)
    others = mine.pop("")
    if not train:
        mine[TRAIN], others = others, []
    if not mine[TRAIN] and (packed := next(filter(is_archive, files), None)):
        raise TrainingError(f"images/{packed} is an archive, which is not read: unpack it into the channel")
    if not mine[TRAIN]:
        raise TrainingError(
            f"images/{train[0]} holds no pictures: put those to train on there"
            if train
            else "the images channel holds no pictures: put them into images/train"
        )
    if not mine[VAL]:
        del mine[VAL]
    folders = " or ".join(f"images/{folder}" for folder in (*train, *val))
    return mine, [
        f"not used: {len(others)} pictures outside {folders}, such as images/{other}" for other in others[:1]
    ]


def _length(pair: tuple[str, str]) -> int:
    return -len(pair[0])


def _folders(images: Path, role: str, named: Mapping[str, Sequence[str]]) -> list[str]:
    """Those of the channel that the dataset's YAML means, with a slash; else the one called like the role."""
    found = [folder for path in named.get(role, ()) if (folder := _folder(images, path))]
    return found or ([f"{role}/"] if (images / role).is_dir() else [])


def _folder(images: Path, named: str) -> str:
    """Of a path from another machine the longest end that is a folder here; empty where there is none.

    `train/images`, as some tools lay it out, is here `train`.
    """
    parts = [part for part in PurePosixPath(named.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    for last in (len(parts), len(parts) - (parts[-1:] == ["images"])):
        for first in range(last):
            ending = "/".join(parts[first:last])
            if os.path.isdir(images / ending):  # noqa: PTH112  (Path.is_dir fails on a name that is too long)
                return f"{ending}/"
    return ""


def _split(pictures: Pictures, share: float, seed: int) -> tuple[Pictures, Pictures, str]:
    """(train, val, why val is empty); the same for the same pictures and seed."""
    count = round(len(pictures) * share)
    if not share:
        return pictures, pictures.only([]), "val_fraction is 0, and images has no folder val"
    if not count:
        return pictures, pictures.only([]), f"{len(pictures)} pictures are too few to keep some aside"
    order = np.random.default_rng(seed).permutation(len(pictures))
    chosen = {int(number) for number in order[:count]}
    rest = [number for number in range(len(pictures)) if number not in chosen]
    return pictures.only(rest), pictures.only(sorted(chosen)), ""


class _Reader:
    """Reads label files and the heads of pictures, and keeps what is wrong with them."""

    def __init__(self, images: Path, labels: Path, classes: int, check_stop: Callable[[], None]):
        self.images, self.labels, self.classes, self.check_stop = images, labels, classes, check_stop
        self.unreadable: dict[str, str] = {}
        self.unlabelled: list[str] = []
        self.beyond: list[str] = []
        self.total = 0
        there, _ = files_below(labels)
        self.there = {file for file in there if file.endswith(".txt")}

    def read(self, files: Sequence[str]) -> Pictures:
        self.total += len(files)
        kept: list[tuple[str, Boxes]] = []
        with ThreadPoolExecutor(THREADS) as pool:
            for file, found in zip(files, pool.map(self._picture, files), strict=True):
                self.check_stop()
                if found is not None:
                    kept.append((file, found))
        return Pictures(self.images, tuple(file for file, _ in kept), tuple(found for _, found in kept))

    def _picture(self, file: str) -> Boxes | None:
        try:
            with Image.open(self.images / file) as image:
                width, height = image.size
                image.verify()
            if min(width, height) >= boxes.SMALLEST:
                return self._boxes(file)
            self.unreadable[file] = f"has {width} x {height} pixels, too few"
        except DataError as error:
            self.unreadable[file] = str(error)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            self.unreadable[file] = first_line(error).replace(f"{self.images}/", "")
        return None

    def _boxes(self, file: str) -> Boxes:
        name = boxes.label_of(file, self.there)
        if name is None:
            self.unlabelled.append(file)
            return np.zeros((0, boxes.COLUMNS), np.float32)
        place = f"{self.labels.name}/{name}"
        path = self.labels / name
        if path.stat().st_size > LARGEST_LABEL:
            raise DataError(f"{place} is larger than {LARGEST_LABEL // 2**20} MiB: it is no label file")
        try:
            found, faults = boxes.read(path.read_bytes(), self.classes)
        except DataError as error:
            raise DataError(f"{place} {error}") from None
        for fault in faults:
            sentence = f"{place}, line {fault.line}: {fault.message}"
            if not fault.beyond:
                raise DataError(sentence)
            self.beyond.append(sentence)
        return found

    def refuse(self, max_unreadable: float, classes: Sequence[str]) -> None:
        """Raises TrainingError for what would train something else than was meant."""
        if self.beyond:
            raise TrainingError(
                f"{min(self.beyond)}; {len(self.beyond)} rows are so: name every class in the dataset's YAML "
                f"(it names {', '.join(classes[:5])}{' …' if len(classes) > 5 else ''}), or mend the labels"
            )
        if len(self.unlabelled) > (1 - boxes.LEAST_LABELLED) * self.total:
            first = min(self.unlabelled)
            raise TrainingError(
                f"{len(self.unlabelled)} of {self.total} pictures have no label file: for images/{first} "
                f"there is no labels/{first.rpartition('.')[0]}.txt: an empty file says that nothing is in it"
            )
        refuse_unreadable(
            sorted(self.unreadable.items()), self.total, max_unreadable, "read with their labels"
        )

    def lines(self) -> Iterator[str]:
        if self.unlabelled:
            yield (
                f"unlabelled={len(self.unlabelled)} of {self.total} pictures have no label file, such as "
                f"images/{min(self.unlabelled)}: they count as pictures with nothing in them"
            )
