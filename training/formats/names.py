"""The names of numbered identities: identities.csv beside shards and records, as classes.csv of a model."""

import csv
import io
from pathlib import Path

from training.formats.errors import DataError

NAMES_TABLE = "identities.csv"


def read_names(root: Path, channel: str) -> dict[str, str]:
    """The identity of each class number, "0", "1", …; empty where there is no table.

    Raises DataError where it cannot be understood, or gives one class two names.
    """
    path, place = root / NAMES_TABLE, f"channels.{channel}: {NAMES_TABLE}"
    if not path.is_file():
        return {}
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
        pairs = [(row["class"].strip(), row["identity"].strip()) for row in rows]
    except (ValueError, KeyError, AttributeError, csv.Error):
        pairs = []
    if not pairs or not all(number and name for number, name in pairs):
        raise DataError(f"{place} needs the columns class,identity, both filled, in UTF-8")
    names = dict(pairs)
    if len(names) < len(pairs):
        raise DataError(f"{place} names {len(pairs) - len(names)} classes twice: leave one line each")
    return names
