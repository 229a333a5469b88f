"""Any model on any verification set: the trainer's own evaluation, in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from facetrain.errors import InputError, OperationError
from training import jobs
from training.jobs import contract
from training.jobs.uri import S3Uri

# Of the extra `trainer`.
NEEDED = ("torch", "numpy", "PIL", "onnx", "onnxruntime", "simplejpeg", "safetensors")
REFUSED = 2

Say = Callable[[str], None]


def verify(
    model: str,
    chosen: str,
    images: str | None,
    *,
    max_unreadable: float,
    s3: Callable[[], Any],
    say: Say,
) -> dict[str, Any]:
    """The figures. model, chosen, images: paths or s3:// addresses; s3: makes the client, if it is needed.

    Raises InputError where the model or the set cannot be used, OperationError where the trainer is not
    installed or fails.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise OperationError(
            f"verifying takes the trainer's packages, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed: `pip install 'facetrain[trainer]'`, or "
            f"`make setup` in a checkout"
        )
    with TemporaryDirectory(prefix="facetrain-") as folder:
        here = [
            _here(place, address, Path(folder, place), s3, say)
            for place, address in (("MODEL", model), ("SET", chosen), ("--images", images))
        ]
        if forgotten := _forgotten(model, here[0], s3):
            say(f"{model} {forgotten}")
        found = _evaluated([str(path) for path in here if path], max_unreadable, images=images is not None)
    return found | {"model": model, "set": chosen}  # as they were named, not where they were fetched to


def _forgotten(model: str, here: Path | None, s3: Callable[[], Any]) -> str | None:
    """What is to be said of a model that learnt from somebody who must be forgotten, if that is known."""
    from facetrain.forgetting import archives, marks  # noqa: PLC0415 - they bring boto3, as above

    found = archives.note_in(here) if here else None
    if found or "://" not in model or contract.OUTPUTS_PREFIX not in model:
        return found
    folder = S3Uri.parse(f"{model.rpartition('/output/')[0]}/")
    return marks.of_folder(s3(), folder) if folder.key.startswith(contract.OUTPUTS_PREFIX) else None


def _evaluated(paths: list[str], max_unreadable: float, images: bool) -> dict[str, Any]:
    """torch takes seconds to import and gigabytes to hold: not in this process."""
    options = ["--images", paths.pop()] if images else []
    command = [sys.executable, "-m", "training.arcface.verification", *options]
    command += ["--max-unreadable", str(max_unreadable), "--", *paths]
    root = str(Path(jobs.__file__).resolve().parents[2])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    }
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=False)  # noqa: S603
    if done.returncode not in (0, REFUSED) or not done.stdout:
        raise OperationError(f"the evaluation ended with {done.returncode}: the lines above say why")
    found: dict[str, Any] = json.loads(done.stdout)
    if "error" in found:
        raise InputError.because(found["error"]["path"], found["error"]["message"])
    return found


def _here(place: str, address: str | None, folder: Path, s3: Callable[[], Any], say: Say) -> Path | None:
    """Where it is on this machine: what lies in S3 is fetched into `folder`."""
    if address is None:
        return None
    if "://" not in address:
        return Path(address)
    try:
        uri = S3Uri.parse(address)
    except ValueError as error:
        raise InputError.because(place, str(error)) from None
    return fetch(s3(), uri, place, folder, say)


def fetch(s3: Any, uri: S3Uri, place: str, folder: Path, say: Say) -> Path:
    """An object, or all that lies below a folder, in `folder`. Raises InputError where there is nothing."""
    from facetrain.storage import Store  # noqa: PLC0415 - boto3 takes long, and is seldom needed here

    store = Store(s3)
    if not uri.is_folder and store.holds(uri):
        keys, below = [uri.key], uri.folder.key
    else:
        below = uri.key if uri.is_folder else f"{uri.key}/"
        keys = [key for key, size in store.sizes(S3Uri(uri.bucket, below)) if size]
    if not keys:
        raise InputError.because(place, f"there is nothing at {uri}")
    say(f"fetching {len(keys)} {'file' if len(keys) == 1 else 'files'} from {uri}")
    for key in keys:
        target = folder / key.removeprefix(below)
        if not target.resolve().is_relative_to(folder.resolve()):
            raise InputError.because(place, f"{key} would lie outside the folder that it is fetched into")
        target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(uri.bucket, key, str(target))
    return folder / uri.name if keys == [uri.key] else folder
