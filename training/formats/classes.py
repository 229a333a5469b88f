"""The classes of a detector, as the dataset's YAML of YOLOv5 names them: `nc` and `names`."""

import re
from collections.abc import Mapping
from typing import Any

from training.formats.errors import DataError

MOST = 10_000  # classes: the largest sets of boxes have 1,200


def is_dataset(document: object) -> bool:
    """Whether it is a dataset's YAML; a network's has `nc`, too."""
    if not isinstance(document, Mapping):
        return False
    return ("names" in document or "nc" in document) and "backbone" not in document


def names_of(document: Mapping[str, Any], place: str) -> tuple[str, ...]:
    """By their numbers, from `names` (a list, or numbers and names) and `nc`.

    place: the file, for messages. Raises DataError.
    """
    names, count = document.get("names"), _number(document.get("nc"))
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise DataError(f"{place}: nc must be the number of the classes, such as 1")
    if count is not None and count > MOST:
        raise DataError(f"{place}: nc is {count}: a detector has at most {MOST:,} classes")
    if names is None and count is not None:
        return tuple(f"class{number}" for number in range(count))  # as v6.2 calls them
    if isinstance(names, Mapping):
        names = {_number(number): name for number, name in names.items()}
        missing = next((number for number in range(len(names)) if number not in names), None)
        if missing is not None:
            raise DataError(f"{place}: names has no class {missing}: number them from 0")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int) for name in names):
        raise DataError(f"{place}: names must be a list such as [face], or 0: face for each class")
    if count is not None and count != len(names):
        raise DataError(f"{place}: nc is {count}, but names has {len(names)}: make them agree")
    return tuple(map(str, names))


def _number(value: object) -> object:
    """A whole number that is written as a text, as programs write it, or as 1.0; anything else as it is."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) else value
