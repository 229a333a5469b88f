"""The cfg channel as teams have it: YAML files of YOLOv5 v6.2, told apart by what they hold, not by name.

cfg/
  yolov5s.yaml          the network: backbone and head
  hyp.scratch-low.yaml  hyperparameters
  faces.yaml            the dataset: nc and names; its paths are those of another machine
  train-args.json       training.jobs.config reads it
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from training.container.errors import TrainingError
from training.formats import classes
from training.formats.errors import DataError
from training.formats.files import files_below, is_archive, suffix_of
from training.yolov5 import hyperparameters, network
from training.yolov5.network import Network

SUFFIXES = (".yaml", ".yml")
LIMIT = 2**20  # bytes; the longest dataset YAML with thousands of names has a tenth of it
DEFAULT_MODEL = "yolov5s"


@dataclass(frozen=True)
class Cfg:
    """What the folder holds. networks: by the file's name without its suffix. unused: lines for the log."""

    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    names: tuple[str, ...] = ()  # of the classes
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of the dataset's YAML: train, val
    knobs: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


def knobs(folder: Path) -> Mapping[str, Any]:
    """What the files of the channel say of the knobs; training.container.given ranks it lowest."""
    return read(folder).knobs


def read(folder: Path) -> Cfg:
    """Raises TrainingError for a file that cannot be understood, ConfigError for hyperparameters."""
    networks: dict[str, Mapping[str, Any]] = {}
    hyps: dict[str, Mapping[str, Any]] = {}
    datasets: dict[str, Mapping[str, Any]] = {}
    for file in _files(folder):
        if suffix_of(file) in SUFFIXES:
            place = f"cfg/{file}"
            document, name = _document(folder / file, place), PurePosixPath(file).stem
            if network.is_description(document) and name in networks:
                raise TrainingError(f"the cfg channel holds several networks called {name}: leave one there")
            if network.is_description(document):
                networks[name] = document
            elif classes.is_dataset(document):
                datasets[place] = document
            elif hyperparameters.is_file_of(document):
                hyps[place] = document
            else:
                raise TrainingError(
                    f"{place} is neither a network (backbone, head), nor a dataset (nc, names), nor "
                    f"hyperparameters (lr0, momentum, …): take it out of the cfg channel"
                )
    place, dataset = _only("datasets", datasets)
    try:
        names = classes.names_of(dataset, place) if dataset else ()
    except DataError as error:
        raise TrainingError(str(error)) from None
    place, values = _only("sets of hyperparameters", hyps)
    found, unused = hyperparameters.mapped(values, place) if values else ({}, ())
    paths = {role: _paths(dataset.get(role)) for role in ("train", "val")}
    return Cfg(networks, names, paths, found, unused)


def choose(cfg: Cfg, model: str, pretrained: str) -> Network:
    """The network to train. model: one of network.SIZES or a file of the channel; empty: what there is.

    That is the channel's only network, or the one that the pretrained weights are called like, or yolov5s.
    Raises TrainingError.
    """
    wanted = Path(model).stem if Path(model).suffix.lower() in SUFFIXES else model
    if not wanted:
        like = Path(pretrained).stem.removesuffix("u")
        only = next(iter(cfg.networks)) if len(cfg.networks) == 1 else ""
        if len(cfg.networks) > 1 and like not in cfg.networks:
            raise TrainingError(
                f"the cfg channel holds {', '.join(cfg.networks)}: say in model which to train"
            )
        wanted = like if like in cfg.networks else only or (like if like in network.SIZES else DEFAULT_MODEL)
    if wanted in cfg.networks:
        return network.described(cfg.networks[wanted], f"cfg/{wanted}.yaml")
    if wanted in network.SIZES:
        return network.of_size(wanted)
    there = ", ".join((*network.SIZES, *(f"{name}.yaml" for name in cfg.networks)))
    raise TrainingError(f"model: there is no {model}: it is one of {there}")


def _files(folder: Path) -> list[str]:
    """Those of the channel, without what systems and notebooks leave behind. Raises DataError."""
    files = files_below(folder)[0] if folder.is_dir() else []
    if archives := list(filter(is_archive, files)):
        raise TrainingError(f"cfg/{archives[0]} is an archive, which is not read: unpack it into the channel")
    return files


def _document(path: Path, place: str) -> Mapping[str, Any]:
    if path.stat().st_size > LIMIT:
        raise TrainingError(f"{place} is larger than {LIMIT // 2**20} MiB: it is no file of YOLOv5")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise TrainingError(f"{place} is not YAML ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(document, Mapping):
        raise TrainingError(f"{place} must hold names and values, such as `nc: 1`")
    return document


def _paths(value: object) -> tuple[str, ...]:
    """Of a dataset's YAML: one, several or none."""
    values = value if isinstance(value, list) else [value]
    return tuple(one for one in values if isinstance(one, str))


def _only(what: str, found: Mapping[str, Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    if len(found) > 1:
        raise TrainingError(f"the cfg channel holds several {what} ({', '.join(found)}): leave one there")
    return next(iter(found.items()), ("", {}))
