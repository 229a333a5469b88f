"""Checkpoints that are whole or not there.

    checkpoints/
      step-000000120/
        state.pt          tensors and plain values, torch.save
        sha256.json       {"state.pt": "9f86…"}: written last
      step-000000240/     the newest; two are kept, so that a damaged one leaves the one before
      .step-000000360/    being written: renamed to step-000000360 once it is on the disk

Checksums are our own because torch.load reads a file with a flipped bit without complaint.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from training.arcface.errors import first_line

KEPT = 2
_PREFIX = "step-"
_STATE, _SUMS = "state.pt", "sha256.json"


class DamagedError(ValueError):
    """The checkpoint is not what was written."""


def save(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Writes the checkpoint of `step` and removes all but the newest two.

    Raises OSError where the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{_PREFIX}{step:09d}"
    aside = folder / f".{final.name}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        torch.save(dict(state), aside / _STATE)
        _flush(aside / _STATE)
        (aside / _SUMS).write_text(json.dumps({_STATE: _digest(aside / _STATE)}))
        _flush(aside / _SUMS)
        _flush(aside)
        shutil.rmtree(final, ignore_errors=True)  # the same step again, after one that was damaged
        aside.rename(final)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        shutil.rmtree(aside, ignore_errors=True)
        raise OSError(f"{folder}: the checkpoint of step {step} could not be written ({error})") from error
    _flush(folder)
    for old in found(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def found(folder: Path) -> list[Path]:
    """The checkpoints there, oldest first, whether whole or not."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.startswith(_PREFIX) and path.is_dir())


def load(path: Path) -> dict[str, Any]:
    """The state of one checkpoint, on the CPU. Raises DamagedError; runs no code from the file."""
    try:
        sums = json.loads((path / _SUMS).read_text())
        if sums[_STATE] != _digest(path / _STATE):
            raise DamagedError(f"{path.name}: its checksum differs: it was cut short or changed")
        state: dict[str, Any] = torch.load(path / _STATE, map_location="cpu", weights_only=True)
    except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, UnpicklingError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(f"{path.name}: it cannot be read ({first_line(error)})") from error
    return state


def newest(folder: Path, tell: Callable[[str], None]) -> dict[str, Any] | None:
    """The newest whole checkpoint's state, or None; `tell` hears of each damaged one that was passed over."""
    for path in reversed(found(folder)):
        try:
            return load(path)
        except DamagedError as error:
            tell(f"checkpoint damaged, trying the one before: {error}")
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Waits until the file, or the folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
