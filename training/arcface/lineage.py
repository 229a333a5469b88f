"""Where a model comes from: its job, and the models that its weights came from.

    {"job": "…-staff-1a2b…", "dataset": "staff",
     "from": {"name": "model.tar.gz", "sha256": "…", "jobs": ["…-staff-0c4d…"]},
     "files": {"backbone.pth": "…", "backbone.safetensors": "…"}}

`jobs` are all that came before, the nearest first, as far as the weights tell; `files` are digests, by which
a bare copy of a weight file is known again. By these, whoever is forgotten is followed into later models.
Where weights say in FORGOTTEN.json that they learnt from somebody who must be, the new model says so, too.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.arcface.weightfiles import BACKBONES, is_archive
from training.container.about import About
from training.container.archive import read_files
from training.jobs.contract import LINEAGE_NAME
from training.jobs.forgotten import NOTE_NAME


def describe(about: About, weights: Path | None) -> dict[str, Any]:
    """Of a model that starts from this weight file, or from none."""
    return {"job": about.job, "dataset": about.dataset, "from": _start(weights) if weights else None}


def digests(folder: Path) -> dict[str, str]:
    """Of the weight files of a model's folder."""
    return {name: _sha256(folder / name) for name in BACKBONES if (folder / name).is_file()}


def note_of(made: Mapping[str, Any]) -> str:
    """What the weights say of somebody who must be forgotten; empty where they say nothing."""
    return str((made.get("from") or {}).get("forgotten") or "")


def _start(weights: Path) -> dict[str, Any]:
    files = _beside(weights)
    start = {"name": weights.name, "sha256": _sha256(weights), "jobs": _jobs(_object(files[LINEAGE_NAME]))}
    note = _object(files[NOTE_NAME]).get("what")
    return start | ({"forgotten": note} if isinstance(note, str) else {})


def _beside(weights: Path) -> dict[str, bytes]:
    """What an earlier job wrote of itself, in the archive or beside the file; empty where that is nothing."""
    names = (LINEAGE_NAME, NOTE_NAME)
    if is_archive(weights):
        return dict.fromkeys(names, b"") | read_files(weights, names)
    beside = {name: weights.parent / name for name in names}
    return {name: path.read_bytes() if path.is_file() else b"" for name, path in beside.items()}


def _object(text: bytes) -> Mapping[str, Any]:
    """Empty where it is no JSON object."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _jobs(earlier: Mapping[str, Any]) -> list[str]:
    start = earlier.get("from")
    before = start.get("jobs") if isinstance(start, dict) else None
    names = [earlier.get("job"), *(before if isinstance(before, list) else [])]
    return [name for name in names if name and isinstance(name, str)]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
