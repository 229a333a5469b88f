"""Files that are no images: a table of all of them, and a refusal where they are too many."""

import csv
from collections.abc import Sequence
from pathlib import Path

from training.container.errors import TrainingError

TABLE_NAME = "unreadable.csv"  # in output/data
HEADER = ["channel", "file", "reason"]
NAMED = 3  # in a failure


def write_table(folder: Path, channel: str, unreadable: Sequence[tuple[str, str]]) -> None:
    """Puts a channel's unreadable files, (file, reason), in place of those it had in the table.

    Makes no table where there are none.
    """
    path = folder / TABLE_NAME
    rows = [[channel, file, reason] for file, reason in unreadable]
    if path.exists():
        with path.open(encoding="utf-8", newline="") as table:
            rows = [row for row in csv.reader(table) if row[0] not in (channel, HEADER[0])] + rows
    elif not rows:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as table:
        csv.writer(table).writerows([HEADER, *rows])


def add_to_table(folder: Path, channel: str, file: str, reason: str) -> None:
    """One more, met while training."""
    path = folder / TABLE_NAME
    if not path.exists():
        write_table(folder, channel, [(file, reason)])
        return
    with path.open("a", encoding="utf-8", newline="") as table:
        csv.writer(table).writerow([channel, file, reason])


def refuse_unreadable(
    unreadable: Sequence[tuple[str, str]], images: int, limit: float, what: str = "read"
) -> None:
    """Raises TrainingError where the unreadable share is above the limit, naming the first few files.

    what: was tried with them.
    """
    count = len(unreadable)
    if not count or (count <= limit * images and count < images):
        return
    named = "; ".join(f"{file} {reason}" for file, reason in unreadable[:NAMED])
    named += "; …" if count > NAMED else ""
    if count == images:
        raise TrainingError(f"none of the {count} images can be {what}: {named}. Replace them")
    raise TrainingError(
        f"{count} of {images} images cannot be {what}, more than max_unreadable {limit:g} allows: {named}. "
        f"Replace them (output/data/{TABLE_NAME} lists all), or raise max_unreadable"
    )
