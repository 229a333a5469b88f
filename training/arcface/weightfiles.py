"""The formats that weights come in, each read without running anything that the file says."""

import csv
import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from training.container.archive import read_files
from training.container.errors import TrainingError, first_line

# What a job of this trainer leaves (`report` writes it), and what is preferred of it.
BACKBONE, BACKBONE_TENSORS, PROGRAM = "backbone.pth", "backbone.safetensors", "model.onnx"
HEAD, CLASSES = "head.safetensors", "classes.csv"
BACKBONES = (BACKBONE_TENSORS, BACKBONE)
OF_ONE_JOB = (*BACKBONES, PROGRAM)
RANK_FILE = re.compile(r"checkpoint_gpu_(\d+)\.pt")

SAVE = 'torch.save(model.state_dict(), "backbone.pth")'
_PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.)+")  # of DistributedDataParallel and torch.compile
SHARD = "state_dict_softmax_fc"  # where arcface_torch's checkpoint keeps a rank's centres
# Where a checkpoint keeps the network.
_HOLDERS = ("learner", "state_dict_backbone", "state_dict", "backbone")

_UNREADABLE = (
    *(RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError),
    *(SafetensorError, AssertionError, MemoryError),
)


@dataclass(frozen=True)
class Found:
    """What a file and those beside it hold, not yet compared with each other."""

    backbone: dict[str, Tensor]
    centres: Tensor | None = None
    identities: tuple[str, ...] = ()


def is_archive(path: Path) -> bool:
    return path.name.endswith((".tar.gz", ".tgz"))


def read_archive(path: Path) -> Found:
    """An earlier job's model.tar.gz. Raises TrainingError where it is no such thing."""
    files = read_files(path, (*BACKBONES, HEAD, CLASSES))
    name = next((name for name in BACKBONES if name in files), None)
    if name is None:
        raise TrainingError(
            f"{path.name} holds no {' or '.join(BACKBONES)}: take the model.tar.gz of an earlier job"
        )
    backbone = state_of(_tensors(f"{path.name}: {name}", files[name]))
    head = _tensors(f"{path.name}: {HEAD}", files[HEAD]) if HEAD in files else {}
    identities = _identities(f"{path.name}: {CLASSES}", files[CLASSES]) if CLASSES in files else ()
    return Found(backbone, head.get("centres"), identities)


def read_file(path: Path) -> Found:
    """A weight file, and the centres and identities that lie beside it."""
    refuse_programs(path)
    value = _tensors(path.name, path)
    table, head = path.parent / CLASSES, path.parent / HEAD
    if not table.is_file():
        return Found(state_of(value))
    identities = _identities(table.name, table.read_bytes())
    if isinstance(value, Mapping) and SHARD in value:
        return Found(state_of(value), _shards(path), identities)
    centres = _tensors(head.name, head).get("centres") if head.is_file() else None
    return Found(state_of(value), centres, identities)


def state_of(value: Any) -> dict[str, Tensor]:
    """The tensors by key: a state dict, or a training checkpoint that holds one; wrappers' prefixes dropped.

    Half precision, which weights are often shared in, becomes float32.
    """
    for key in _HOLDERS:
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    if not isinstance(value, Mapping):
        return {}
    return {
        _PREFIXES.sub("", str(key)): tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in value.items()
        if isinstance(tensor, Tensor)
    }


def refuse_programs(path: Path) -> None:
    """Raises TrainingError for files that hold a program, not only weights."""
    if path.suffix == ".onnx":
        raise TrainingError(
            f"{path.name} is an ONNX program, which cannot be trained: take the backbone.pth or "
            "backbone.safetensors that was written with it; a face detector is named by the hyperparameter "
            "detector"
        )
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise TrainingError(
                    f"{path.name} is a TorchScript program, which would run when read: where it was made, "
                    f'write {SAVE} with model = torch.jit.load("{path.name}")'
                )


def _tensors(name: str, source: Path | bytes) -> Any:
    """What the file holds. Raises TrainingError, calling it `name`, whose suffix tells the format."""
    try:
        if name.endswith(".safetensors"):
            return _safetensors(source)
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TrainingError(_not_only_tensors(name, error)) from None
    except _UNREADABLE as error:
        raise TrainingError(f"{name} is not a weight file ({first_line(error)}): copy it once more") from None


def _safetensors(source: Path | bytes) -> dict[str, Tensor]:
    if isinstance(source, bytes):
        return safetensors.torch.load(source)
    return safetensors.torch.load_file(source)


def _not_only_tensors(name: str, error: Exception) -> str:
    said = re.search(r"(?:Unsupported global: |Unsupported class |GLOBAL )`?([\w.]+)", str(error))
    if said is None:
        return f"{name} is not a weight file ({first_line(error)})"
    return (
        f"{name} holds Python objects ({said[1]}), not only tensors, and reading those would run code "
        f"from the file: where it was made, write {SAVE}"
    )


def _shards(path: Path) -> Tensor:
    """The centres of all ranks of an arcface_torch run, each of which left its own, one after the other."""
    ranks = {
        int(match[1]): other for other in path.parent.iterdir() if (match := RANK_FILE.fullmatch(other.name))
    }
    if sorted(ranks) != list(range(len(ranks))):
        raise TrainingError(
            f"{path.name}: beside it are the checkpoints of ranks {sorted(ranks)}, not of all"
        )
    files = [ranks[rank] for rank in sorted(ranks)] or [path]
    return torch.cat([_tensors(file.name, file)[SHARD]["weight"] for file in files])


def _identities(name: str, content: bytes) -> tuple[str, ...]:
    """The identity of each row of the centres: classes.csv as `report` writes it.

    Raises TrainingError where the table is another.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
        numbered = {int(row["class"]): row["identity"] for row in rows}
    except (UnicodeDecodeError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise TrainingError(f"{name} is no table of class,identity ({first_line(error)})") from None
    if sorted(numbered) != list(range(len(rows))):
        raise TrainingError(f"{name}: its classes are not 0 … {len(rows) - 1}, each once")
    return tuple(numbered[number] for number in range(len(rows)))
