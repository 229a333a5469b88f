"""Folders that are there wholly or not at all: written beside their place, then renamed."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facetrain.errors import InputError, OperationError


@contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """A folder to write in, which becomes `destination` at the end of the block.

    An error or Ctrl-C in the block removes what was written. Raises InputError where the destination holds
    something already, OperationError where the disk is full or does not take it.
    """
    destination = destination.absolute()
    _refuse_what_is_there(destination)
    written: Path | None = None
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        written = Path(tempfile.mkdtemp(prefix=f".{destination.name[:100]}-", dir=destination.parent))
        yield written
        written.chmod(0o755)  # mkdtemp's is for its owner alone
        written.rename(destination)  # also over an empty folder
    except OSError as error:
        raise OperationError(_explained(destination, error)) from None
    finally:
        if written is not None and written.exists():
            shutil.rmtree(written, ignore_errors=True)


def _refuse_what_is_there(destination: Path) -> None:
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise InputError.because("DEST", f"{destination} is no folder: name a new one")
    if destination.is_dir() and any(destination.iterdir()):
        raise InputError.because("DEST", f"{destination} is not empty: name a new folder")


def _explained(destination: Path, error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"{destination} cannot be written ({reason}); nothing of it was left: make room, or name another"
