"""YOLO's label files: for each picture a text of the same name, `class x y width height` an object.

x and y are the box's middle; all four are shares of the picture's width and height. An empty file says that
there is nothing in the picture. A longer row is an outline (x y x y …), whose box is taken, as YOLOv5 does.
"""

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.formats.errors import DataError

Boxes = NDArray[np.float32]  # (n, 5): class, x, y, width, height

SMALLEST = 10  # pixels of a picture's side, as YOLOv5 has it
LEAST_LABELLED = 0.5  # share of the pictures that must have a label file
COLUMNS = 5
LEAST_OUTLINE = 7  # a class and three points
TOLERANCE = 0.01  # tools that draw boxes round outwards; what is beyond the edge is cut off


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row. beyond: its class is not among those that the dataset names."""

    line: int  # 1, 2, …
    message: str
    beyond: bool = False


def label_of(picture: str, there: Container[str]) -> str | None:
    """Of the label files that are there a picture's: below its folders, or without the first of them.

    Where one folder holds both images/train and labels/train, it lies there, as YOLOv5 has it.
    """
    name = f"{picture.rpartition('.')[0]}.txt"
    before, slash, after = f"/{name}".rpartition("/images/")
    swapped = f"{before}/labels/{after}"[1:] if slash else name
    return next((one for one in (name, name.partition("/")[2], swapped) if one in there), None)


def read(data: bytes, classes: int) -> tuple[Boxes, list[Fault]]:
    """The boxes that are right, each once, and what is wrong with the other rows.

    classes: how many there are. Raises DataError where the file is no text; the caller knows its name.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text ({error.reason})") from None
    boxes: dict[tuple[float, ...], None] = {}
    faults = []
    for line, row in _rows(text):
        try:
            boxes[_box(row, classes)] = None
        except _BeyondError as error:
            faults.append(Fault(line, str(error), beyond=True))
        except ValueError as error:
            faults.append(Fault(line, str(error)))
    return np.array(list(boxes), dtype=np.float32).reshape(-1, COLUMNS), faults


class _BeyondError(ValueError):
    """A class that the dataset does not name."""


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    for line, row in enumerate(text.splitlines(), 1):
        if words := row.split():
            yield line, words


def _box(row: list[str], classes: int) -> tuple[float, ...]:
    if len(row) != COLUMNS and (len(row) < LEAST_OUTLINE or len(row) % 2 == 0):
        raise ValueError(f"has {len(row)} columns: a row is `class x y width height`")
    label, *places = (_number(word) for word in row)
    if label != int(label) or label < 0:
        raise ValueError(f"the class {row[0]} is no whole number from 0 on")
    if label >= classes:
        raise _BeyondError(
            f"class {row[0][:20]} is not among the {classes} that nc and names give (0 to {classes - 1})"
        )
    for number, word in zip(places, row[1:], strict=True):
        if not -TOLERANCE <= number <= 1 + TOLERANCE:
            raise ValueError(
                f"{word} is out of range: places and sizes are shares of the picture, from 0 to 1"
            )
    x, y, width, height = places if len(row) == COLUMNS else _extent(places)
    if width <= 0 or height <= 0:
        raise ValueError("the box has no area: width and height must be above 0")
    return (label, *(min(max(number, 0.0), 1.0) for number in (x, y, width, height)))


def _extent(points: list[float]) -> tuple[float, float, float, float]:
    """The box around an outline, x y x y …"""
    across, down = points[::2], points[1::2]
    left, right, top, bottom = min(across), max(across), min(down), max(down)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _number(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise ValueError(f"{word[:40]!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{word} is not a finite number")
    return number
