"""The weights that a job starts from, read without running anything of the file.

A checkpoint of ultralytics (yolov5su.pt, or a job's best.pt) is a pickle of its network's objects. Here each
class that it names becomes an empty stand-in, and only the tensors are taken, by the names of their places.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import torch
from torch import Tensor, nn

from training.container.errors import TrainingError, first_line
from training.formats.files import files_below, suffix_of

SUFFIXES = (".pt", ".pth")
RELEASES = "https://github.com/ultralytics/assets/releases"
LEAST_SHARE = 0.5  # of the network's numbers that must fit, or the weights are of another network
HEAD = ".cv3."  # in the names of tensors whose last rows are one for each class
_DEEPEST = 100
_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # of a PyTorch before 1.6, as the first YOLOv5 had
README = "README.md"  # says what goes into the channel
_DAMAGED = (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError)
# All that a tensor is rebuilt of. torch reads the storages itself.
_TENSORS = {
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    **{
        ("torch", f"{name}Storage"): getattr(torch, f"{name}Storage")
        for name in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
    },
}


@dataclass(frozen=True)
class Weights:
    """name: of the file. classes: what the rows of the head stand for, if the file says so."""

    name: str
    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...] = ()


def choose(channel: Path, wanted: str) -> Path | None:
    """The file of the weights channel: the one that is wanted, with or without its suffix, or the only one.

    wanted: its name, or a path that ends with it. None where there is no channel, or only a page on what
    belongs there, and nothing is wanted. Raises TrainingError.
    """
    there = [file for file in files_below(channel)[0] if file != README] if channel.is_dir() else []
    files = [channel / file for file in there if suffix_of(file) in SUFFIXES]
    if wanted:
        name = wanted.replace("\\", "/").rpartition("/")[2]
        for path in files:
            if name in (path.name, path.stem):
                return path
        held = ", ".join(path.name for path in files)
        remedy = f", but {held}" if held else ": put it there, or leave the name out; nothing is downloaded"
        raise TrainingError(f"pretrained: the weights channel has no {wanted}{remedy}")
    if there and not files:
        raise TrainingError(
            f"the weights channel holds {there[0]} and no {' or '.join(SUFFIXES)} file: put a checkpoint "
            f"such as yolov5su.pt or an earlier job's best.pt there, unpacked, or leave the channel out"
        )
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise TrainingError(f"the weights channel holds {names}: say in pretrained which one to start from")
    return files[0] if files else None


def read(path: Path) -> Weights:
    """Raises TrainingError where it is no checkpoint of ultralytics, or of YOLOv5's own older format."""
    try:
        value = _load(path)
    except (*_DAMAGED, RuntimeError, zipfile.BadZipFile, OSError) as error:
        raise TrainingError(
            f"weights/{path.name} is damaged or no PyTorch checkpoint ({first_line(error)}): copy it again"
        ) from None
    model = value
    if isinstance(value, Mapping) and not _is_state(value):
        found = value.get("ema")
        model = found if found is not None else value.get("model")
    classes: tuple[str, ...] = ()
    if _is_state(model):
        tensors = dict(model)
    elif isinstance(model, _StandIn):
        if model.origin.startswith(("models.", "yolov5.")):
            raise TrainingError(_old(path.name))
        tensors, classes = dict(_tensors(model)), _classes(vars(model).get("names"))
    else:
        raise TrainingError(f"weights/{path.name} holds no network: take a checkpoint such as yolov5su.pt")
    if any(name.endswith((".anchors", ".anchor_grid")) for name in tensors):
        raise TrainingError(_old(path.name))
    return Weights(path.name, tensors, classes)


def load_into(network: nn.Module, weights: Weights, classes: Sequence[str]) -> str:
    """Takes over every tensor that fits, rows of known classes by their names; a line for the log.

    Raises TrainingError where little fits, for then they are of another network or size, or cannot be used.
    """
    mine = network.state_dict()
    taken = {
        name: value.to(mine[name].dtype)
        for name, value in weights.tensors.items()
        if name in mine and mine[name].shape == value.shape
    }
    rows = _rows_by_name(mine, weights, classes)
    fits = sum(mine[name].numel() for name in taken) / max(1, sum(value.numel() for value in mine.values()))
    if fits < LEAST_SHARE:
        raise TrainingError(
            f"weights/{weights.name} is of another network or size ({len(taken)} of {len(mine)} tensors "
            f"fit): name the model that it is of in model, or another file in pretrained"
        )
    if not all(bool(torch.isfinite(value).all()) for value in taken.values()):
        raise TrainingError(f"weights/{weights.name} holds weights that are no numbers: take another file")
    network.load_state_dict(taken | rows, strict=False)
    known = f" classes_known={len(set(weights.classes) & set(classes))}" if weights.classes else ""
    return f"weights loaded from {weights.name} tensors={len(taken | rows)}/{len(mine)}{known}"


def _rows_by_name(mine: Mapping[str, Tensor], weights: Weights, classes: Sequence[str]) -> dict[str, Tensor]:
    """The last layers' rows, put where the same class is now. Empty where no class is known by name."""
    known = {name: row for row, name in enumerate(weights.classes)}
    pairs = [(row, known[name]) for row, name in enumerate(classes) if name in known]
    found = {}
    for name, value in weights.tensors.items():
        last = HEAD in name and name.rsplit(".", 2)[-2] == "2" and len(value) == len(known)
        if pairs and last and name in mine and mine[name].shape[1:] == value.shape[1:]:
            rows = mine[name].clone()
            for row, theirs in pairs:
                rows[row] = value[theirs].to(rows.dtype)
            found[name] = rows
    return found


def _old(name: str) -> str:
    return (
        f"weights/{name} is in the old format (YOLOv5 v6.2 or before, with anchors), which this network "
        f"cannot take over: put yolov5nu.pt, yolov5su.pt … from {RELEASES} there, or leave the channel out"
    )


# -- A pickle without what it names ------------------------------------------------------------------------


class _StandIn:
    """An object of a class that is not looked up: it keeps its attributes, and does nothing."""

    origin = ""  # the module of its class

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)

    def __setitem__(self, name: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        pass

    def extend(self, values: object) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if found := _TENSORS.get((module, name)):
            return found
        return type("StandIn", (_StandIn,), {"origin": module})


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            raise TrainingError(_old(path.name))
    with zipfile.ZipFile(path) as archive:  # as torch.save writes since 2020
        if any(name.endswith("constants.pkl") for name in archive.namelist()):
            raise ValueError("a TorchScript program")
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_Pickle)


def _plain_load(file: IO[bytes], **options: Any) -> Any:
    return _Unpickler(file, **options).load()


_Pickle = SimpleNamespace(__name__="pickle", Unpickler=_Unpickler, load=_plain_load)


def _is_state(value: object) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(one, Tensor) for one in value.values())


def _tensors(module: object, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """As nn.Module.state_dict names them."""
    if not isinstance(module, _StandIn) or depth > _DEEPEST:
        return
    held = vars(module)
    for kind in ("_parameters", "_buffers"):
        for name, value in dict(held.get(kind) or {}).items():
            if isinstance(value, Tensor):
                yield prefix + str(name), value
    for name, child in dict(held.get("_modules") or {}).items():
        yield from _tensors(child, f"{prefix}{name}.", depth + 1)


def _classes(names: object) -> tuple[str, ...]:
    values = names.values() if isinstance(names, dict) else names if isinstance(names, list) else ()
    return tuple(map(str, values))
