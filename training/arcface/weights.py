"""Weights to start from: those of an earlier job, of arcface_torch, or of anyone who uses its layout.

    backbone.pth, model.pt    a state dict                        ┐ with head.safetensors and classes.csv
    backbone.safetensors      the same without a pickle           ┘ beside it: the class centres, too
    model.tar.gz              what a job of this trainer leaves: all of the above in one file
    checkpoint_gpu_0.pt …     arcface_torch's own checkpoints; their centres count where classes.csv is beside

Nothing here runs code from a file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.arcface import weightfiles
from training.arcface.backbones import EMBEDDING_SIZE, build, fitting
from training.arcface.weightfiles import CLASSES, HEAD, is_archive
from training.container.errors import TrainingError
from training.jobs.problems import did_you_mean

_T = TypeVar("_T")

SUFFIXES = (".pth", ".pt", ".safetensors", ".tar.gz", ".tgz", ".onnx")
# Files that a job leaves beside its weights: they are not weights to choose between.
COMPANIONS = (HEAD, "output.tar.gz", "sourcedir.tar.gz")


@dataclass(frozen=True)
class Pretrained:
    """What a weight file holds.

    backbone: float32 tensors by arcface_torch's keys; centres: (len(identities), 512) float32, not
    normalised, row i is the centre of identities[i]; None where the file tells no centres or not whose.
    """

    name: str
    backbone: dict[str, Tensor]
    centres: Tensor | None = None
    identities: tuple[str, ...] = ()

    @property
    def networks(self) -> list[str]:
        """The networks that these weights are for: one, or none."""
        return fitting(self.backbone)


def check(channel: Path, name: str, detector: str) -> None:
    """Raises TrainingError for what can be told without reading weights, before hours are spent on images."""
    path = choose(channel, name, detector)
    if path and not is_archive(path):
        _in_channel(weightfiles.refuse_programs, path)


def from_channel(channel: Path, name: str, detector: str = "") -> Pretrained | None:
    """The weights of the job's channel; None without one. Raises TrainingError with the channel's name."""
    path = choose(channel, name, detector)
    if path is None:
        return None
    return _in_channel(read, path)


def _in_channel(read_it: Callable[[Path], _T], path: Path) -> _T:
    try:
        return read_it(path)
    except TrainingError as error:
        raise TrainingError(f"channels.weights: {error}") from None


def without(pretrained: Pretrained, forgotten: NDArray[np.bool_], log: Callable[[str], None]) -> Pretrained:
    """The same without the centres of the forgotten, (identities,); the log hears how many there were."""
    if not forgotten.any():
        return pretrained
    log(
        f"forgotten channel=weights identities={forgotten.sum()}: their centres are not used, but the "
        "network learnt from them: train it again from the start"
    )
    assert pretrained.centres is not None  # whose they are is known only where they are there
    stay = np.flatnonzero(~forgotten)
    identities = tuple(pretrained.identities[number] for number in stay)
    return replace(pretrained, centres=pretrained.centres[torch.from_numpy(stay)], identities=identities)


def choose(channel: Path, name: str, detector: str = "") -> Path | None:
    """The weight file to start from: `name`, or the only one there beside the face detector.

    None without a weights channel, or with one that holds the detector and nothing else.
    """
    if name:
        return _named("pretrained", channel, name)
    if not channel.is_dir():
        return None
    beside = choose_detector(channel, detector)
    models = _one_for_each_model([path for path in _weights_in(channel) if path != beside])
    if beside and not models:
        return None
    if len(models) != 1:
        raise TrainingError(
            f"channels.weights: {len(models)} weight files ({', '.join(SUFFIXES)}) where one is expected"
            f"{': name one with the hyperparameter pretrained' if models else ''}"
        )
    return models[0]


def choose_detector(channel: Path, name: str) -> Path | None:
    """The face detector that the job names, if it does."""
    return _named("detector", channel, name) if name else None


def _named(knob: str, channel: Path, name: str) -> Path:
    """By its own name or its path in the channel. Raises TrainingError that begins with the knob."""
    if not channel.is_dir():
        raise TrainingError(f'{knob}: "{name}" is asked for, but the job has no weights channel')
    paths = _weights_in(channel)
    by_name = {path.name: path for path in paths} | {str(path.relative_to(channel)): path for path in paths}
    if name not in by_name:
        raise TrainingError(f'{knob}: channels.weights has no "{name}"{did_you_mean(name, by_name)}')
    return by_name[name]


def _weights_in(channel: Path) -> list[Path]:
    return [path for path in sorted(channel.rglob("*")) if path.is_file() and _is_weights(path)]


def read(path: Path) -> Pretrained:
    """What the file holds, checked, on the CPU.

    Raises TrainingError, naming the file and the remedy, where it is no weight file, would run code when
    read, is damaged, or holds values that are not finite.
    """
    found = weightfiles.read_archive(path) if is_archive(path) else weightfiles.read_file(path)
    _refuse_not_finite(path.name, found.backbone)
    if found.centres is None or found.centres.shape != (len(found.identities), EMBEDDING_SIZE):
        return Pretrained(path.name, found.backbone)
    centres = found.centres.float()
    _refuse_not_finite(path.name, {"the class centres": centres})
    return Pretrained(path.name, found.backbone, centres, found.identities)


def load_network(path: Path) -> nn.Module:
    """The network that a weight file is for, with its weights, on the CPU, in eval mode.

    Raises TrainingError where the file cannot be read or fits no network.
    """
    pretrained = read(path)
    if not (fits := pretrained.networks):
        raise TrainingError(f"{path.name} fits no network here: {_closest(pretrained)}")
    backbone = build(fits[0])
    backbone.load_state_dict(pretrained.backbone)
    return backbone.eval()


def load_into(backbone: nn.Module, pretrained: Pretrained, network: str) -> None:
    """Loads strictly. Raises TrainingError saying which network fits."""
    own = {key: value.shape for key, value in backbone.state_dict().items()}
    if {key: value.shape for key, value in pretrained.backbone.items()} != own:
        fits = pretrained.networks
        remedy = f"set network to {' or '.join(fits)}, whose they are" if fits else _closest(pretrained)
        raise TrainingError(
            f"channels.weights: {pretrained.name} does not hold weights of {network}: {remedy}"
        )
    backbone.load_state_dict(pretrained.backbone)


def _refuse_not_finite(name: str, values: Mapping[str, Tensor]) -> None:
    if bad := [key for key, value in values.items() if not torch.isfinite(value).all()]:
        raise TrainingError(f"{name} has NaN or infinite values in {bad[0]}: take another")


def _closest(pretrained: Pretrained) -> str:
    keys = ", ".join(list(pretrained.backbone)[:3])
    return f"its {len(pretrained.backbone)} tensors ({keys} …) are those of no network of arcface_torch"


def _is_weights(path: Path) -> bool:
    return path.name.endswith(SUFFIXES) and path.name not in COMPANIONS


def _one_for_each_model(paths: Sequence[Path]) -> list[Path]:
    """Several files of one folder can be one model: a job's, or the ranks' of an arcface_torch run."""
    chosen: dict[tuple[Path, str], Path] = {}
    for path in sorted(paths, key=lambda path: path.suffix == ".onnx"):
        group = "checkpoint" if weightfiles.RANK_FILE.fullmatch(path.name) else path.name
        if (path.parent / CLASSES).is_file() and path.name in weightfiles.OF_ONE_JOB:
            group = "job"
        chosen.setdefault((path.parent, group), path)
    return sorted(chosen.values())
