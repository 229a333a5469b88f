"""Room on the disk for a model, before it is trained and while it is written."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.container.errors import TrainingError


def refuse_if_full(folder: Path, needed: int) -> None:
    """Makes the folder. Raises TrainingError where fewer bytes are free, before hours are spent."""
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise TrainingError(_no_room(folder, needed, free))


@contextmanager
def whole(folder: Path, needed: int) -> Iterator[None]:
    """Of a model that cannot be written whole nothing stays. Raises TrainingError where there is no room.

    needed: bytes. Each library has an error of its own for a full disk, so it is told by what is free then.
    """
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    try:
        yield
    except Exception as error:
        for path in folder.iterdir():
            if before.get(path) != path.stat().st_mtime_ns:
                path.unlink()
        free = shutil.disk_usage(folder).free
        if free >= needed:
            raise
        again = ", and start again: the last checkpoint holds what was trained"
        raise TrainingError(_no_room(folder, needed, free) + again) from error


def _no_room(folder: Path, needed: int, free: int) -> str:
    return (
        f"{folder}: the model takes {needed / 2**20:.0f} MiB, and {free / 2**20:.0f} are free: free some "
        f"space there or raise volume_gb"
    )
