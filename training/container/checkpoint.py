"""Checkpoints that are whole or not there.

    checkpoints/
      step-000000120/
        about.json          what it is a checkpoint of, for people and for who resumes
        state.pt            tensors and plain values, torch.save
        sha256.json         {"about.json": "…", "state.pt": "9f86…"}: written last
      step-000000240/       the newest; two are kept, so that a damaged one leaves the one before
      .step-000000360/      being written: renamed to step-000000360 once it is on the disk
      best/step-000000180/  the weights that verified best, laid out alike
      set-aside-1/          what `train --resume never` found here

Checksums are our own because torch.load reads a file with a flipped bit without complaint. Other names
are not ours and are left alone: SageMaker, too, lays its marks here while it copies the folder to S3.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from training.container.errors import first_line

KEPT = 2
BEST = "best"
_NAME = re.compile(r"step-\d{9,}")
_CUT_OFF = re.compile(r"\.(?:old-)?(step-\d{9,})")
_ABOUT, _STATE, _SUMS = "about.json", "state.pt", "sha256.json"
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, UnpicklingError)


class DamagedError(ValueError):
    """The checkpoint is not what was written."""


def save(folder: Path, step: int, state: Mapping[str, Any], about: Mapping[str, Any]) -> Path:
    """Writes the checkpoint of `step`; one of the same step is replaced.

    about: goes into JSON. Raises OSError where the disk is full; what was there before is untouched then.
    """
    import torch  # noqa: PLC0415  (it takes seconds)

    folder.mkdir(parents=True, exist_ok=True)
    final = folder / name_of(step)
    aside = folder / f".{final.name}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        (aside / _ABOUT).write_text(json.dumps(about, indent=1) + "\n")
        torch.save(dict(state), aside / _STATE)
        sums = {name: _digest(aside / name) for name in (_ABOUT, _STATE)}
        for name in sums:
            _flush(aside / name)
        (aside / _SUMS).write_text(json.dumps(sums))
        _flush(aside / _SUMS)
        _flush(aside)
        _put_in_place(aside, final)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        free = shutil.disk_usage(folder).free / 2**20
        shutil.rmtree(aside, ignore_errors=True)
        raise OSError(
            f"{folder}: the checkpoint of step {step} could not be written with {free:.0f} MiB left "
            f"({first_line(error)})"
        ) from error
    _flush(folder)
    return final


def name_of(step: int) -> str:
    return f"step-{step:09d}"


def found(folder: Path) -> list[Path]:
    """The checkpoints there, oldest first, whether whole or not."""
    paths = _entries(folder, _NAME)
    return sorted(paths, key=lambda path: int(path.name.removeprefix("step-")))


def load(path: Path) -> dict[str, Any]:
    """The state of one checkpoint, on the CPU. Raises DamagedError; runs no code from the file."""
    import torch  # noqa: PLC0415  (it takes seconds)

    read_about(path)
    try:
        _check(path, _STATE)
        state: dict[str, Any] = torch.load(path / _STATE, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    return state


def read_about(path: Path) -> dict[str, Any]:
    """What `save` was told of it, without reading the state. Raises DamagedError."""
    try:
        _check(path, _ABOUT)
        about: dict[str, Any] = json.loads((path / _ABOUT).read_text())
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    return about


def newest(folder: Path, tell: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole checkpoint and its state; `tell` hears of each damaged one that was passed over."""
    for path in reversed(found(folder)):
        try:
            return path, load(path)
        except DamagedError as error:
            tell(f"checkpoint damaged, trying the one before: {error}")
    return None


def newest_about(folder: Path) -> dict[str, Any] | None:
    """What the newest checkpoint says of itself that can say it; `newest` may find it damaged elsewhere."""
    for path in reversed(found(folder)):
        try:
            return read_about(path)
        except DamagedError:
            continue
    return None


def prune(folder: Path, keep: Collection[str]) -> None:
    """Removes every checkpoint whose name is not among `keep`."""
    for path in found(folder):
        if path.name not in keep:
            remove(path)


def remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def clean(folder: Path, tell: Callable[[str], None]) -> None:
    """Ends what a killed process left half done: what is whole gets its name, the rest goes."""
    for place in (folder, folder / BEST):
        for path in sorted(_entries(place, _CUT_OFF), reverse=True):  # ".step-…" before ".old-step-…"
            final = place / path.name[path.name.index("step-") :]
            if not final.exists() and _is_whole(path):
                path.rename(final)
                continue
            remove(path)
            if path.name == f".{final.name}":
                tell(f"checkpoint {final.name} was cut off while it was written: removed")


def set_aside(folder: Path) -> Path | None:
    """Moves all checkpoints into a folder of their own, which nothing reads; None where there are none."""
    ours = [*found(folder), *(path for path in [folder / BEST] if path.is_dir())]
    if not ours:
        return None
    number = 1
    while (place := folder / f"set-aside-{number}").exists():
        number += 1
    place.mkdir()
    for path in ours:
        path.rename(place / path.name)
    _flush(folder)
    return place


def _entries(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if pattern.fullmatch(path.name) and path.is_dir()]


def _put_in_place(aside: Path, final: Path) -> None:
    """At every moment one of the two is whole, and `clean` finds it."""
    old = final.with_name(f".old-{final.name}")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    aside.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def _is_whole(path: Path) -> bool:
    try:
        _check(path, _ABOUT)
        _check(path, _STATE)
    except _UNREADABLE:
        return False
    return True


def _check(path: Path, name: str) -> None:
    if json.loads((path / _SUMS).read_text())[name] != _digest(path / name):
        raise DamagedError(f"{path.name}: the checksum of {name} differs: it was cut short or changed")


def _damaged(path: Path, error: Exception) -> DamagedError:
    if isinstance(error, DamagedError):
        return error
    return DamagedError(f"{path.name}: it cannot be read ({first_line(error)})")


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
