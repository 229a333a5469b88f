"""`facetrain dataset boxes`: the boxes that a detector drew, as pictures and labels to train another on.

DEST/images/train/…  DEST/labels/train/…   a label file is called like its picture
DEST/images/val/…    DEST/labels/val/…     some people's photos, to measure on
DEST/cfg/dataset.yaml                      nc and names
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from facetrain.datasets.aside import new_folder
from facetrain.datasets.check.parallel import in_threads
from facetrain.errors import InputError
from training.formats.decode import photo, read_bytes
from training.formats.errors import DataError, UnreadableError
from training.formats.files import is_image
from training.formats.labels import read_text
from training.formats.listing import common_depth
from training.formats.yolo import FACE

DATASET = f"nc: 1\nnames: [{FACE}]\n"
_COLUMNS = ("file", "result", "face", "faces", "left", "top", "right", "bottom")

Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Drawn:
    """A photo with one face. face: what its aligned face is called."""

    file: str
    face: PurePosixPath
    box: Box


@dataclass(frozen=True)
class Boxes:
    """What was written. left_out: lines of the table whose photo has several faces, or none to use."""

    train: int
    val: int
    left_out: int
    unreadable: tuple[str, ...]  # `file reason`


def draw(
    source: Path,
    destination: Path,
    table: Path,
    *,
    val_fraction: float,
    seed: int,
    done: Callable[[int, int], None] = lambda _count, _of: None,
) -> Boxes:
    """Writes DEST. Raises InputError, or OperationError where the disk does not take it."""
    if not source.is_dir():
        raise InputError.because("SRC", f"{source} is no folder")
    if destination.resolve().is_relative_to(source.resolve()):  # its pictures would be photos of SRC, too
        raise InputError.because("DEST", f"{destination} lies in {source}: name a folder beside")
    drawn, lines = read_table(table)
    if not drawn:
        raise InputError.because(
            "--table", f"{table} has no photo with a box and no other face: prepare with a detector"
        )
    val = of_people([one.face for one in drawn], val_fraction, seed)
    unreadable, counts = [], {"train": 0, "val": 0}
    with new_folder(destination) as folder:
        (folder / "cfg").mkdir()
        (folder / "cfg" / "dataset.yaml").write_text(DATASET, encoding="utf-8")
        roles = ["val" if one.face in val else "train" for one in drawn]
        written = in_threads(partial(_put, source, folder), zip(drawn, roles, strict=True))
        for count, (one, role, reason) in enumerate(zip(drawn, roles, written, strict=True), 1):
            if reason:
                unreadable.append(f"{one.file} {reason}")
            else:
                counts[role] += 1
            done(count, len(drawn))
        if not counts["train"]:
            raise InputError.because(
                "SRC", f"none of {len(drawn)} photos of the table can be read in {source}: name its folder"
            )
    return Boxes(counts["train"], counts["val"], lines - len(drawn), tuple(unreadable))


def read_table(path: Path) -> tuple[list[Drawn], int]:
    """Photos with one face that `dataset prepare` found and kept, and how many lines there are.

    Of a photo with several faces the table holds one box: the others would be taught as background. Raises
    InputError.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path))))
        return list(_drawn(path, rows)), len(rows)
    except (DataError, OSError) as error:
        raise InputError.because("--table", str(error)) from None


def _drawn(path: Path, rows: Sequence[dict[str, str]]) -> Iterator[Drawn]:
    if missing := [column for column in _COLUMNS if not rows or column not in rows[0]]:
        raise DataError(
            f"{path} has no column {missing[0]}: name the .prepare/prepare.csv of dataset prepare"
        )
    for line, row in enumerate(rows, 2):
        if row["result"] != "kept" or row["faces"] != "1" or not row["left"]:
            continue
        try:
            left, top, right, bottom = (float(row[side]) for side in ("left", "top", "right", "bottom"))
        except (TypeError, ValueError):
            raise DataError(f"{path}, line {line}: its box is not four numbers") from None
        file, face = PurePosixPath(row["file"]), PurePosixPath(row["face"])
        if any(name.is_absolute() or ".." in name.parts for name in (file, face)):
            raise DataError(f"{path}, line {line}: its path leads out of the folder")
        yield Drawn(file.as_posix(), face, (left, top, right, bottom))


def of_people(faces: Sequence[PurePosixPath], fraction: float, seed: int) -> set[PurePosixPath]:
    """Those of some people, drawn by the seed, so that nobody is both trained and measured on.

    As many people as the fraction asks for, at least one and not all; of one person none.
    """
    depth = common_depth([str(face) for face in faces])
    people = sorted({face.parts[depth] for face in faces})
    count = min(len(people) - 1, max(1, round(fraction * len(people)))) if fraction else 0
    chosen = {people[number] for number in np.random.default_rng(seed).permutation(len(people))[:count]}
    return {face for face in faces if face.parts[depth] in chosen}


def _put(source: Path, folder: Path, given: tuple[Drawn, str]) -> str:
    """The picture as it is, and its label; gives the reason where it cannot be read."""
    drawn, role = given
    try:
        data = read_bytes(source / drawn.file)
        row = label(drawn.box, photo(data).size)
    except UnreadableError as error:
        return str(error)
    suffix = PurePosixPath(drawn.file).suffix if is_image(drawn.file) else ".jpg"
    name = drawn.face.with_suffix("")
    picture = folder / "images" / role / f"{name}{suffix}"
    text = folder / "labels" / role / f"{name}.txt"
    for path in (picture, text):
        path.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(data)
    text.write_text(row, encoding="utf-8")
    return ""


def label(box: Box, size: tuple[int, int]) -> str:
    """A row of a label file: the part of the box that lies in the picture, as shares of its size.

    Raises UnreadableError where none does: then the photo is another than the one that was prepared.
    """
    width, height = size
    left, right = (min(max(value / width, 0.0), 1.0) for value in box[::2])
    top, bottom = (min(max(value / height, 0.0), 1.0) for value in box[1::2])
    if left >= right or top >= bottom:
        raise UnreadableError("has its box out of the picture: prepare it anew")
    numbers = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return " ".join(["0", *(f"{number:.6f}" for number in numbers)]) + "\n"
