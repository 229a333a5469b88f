"""The model folder: weights, class centres, ONNX, classes, configuration, figures."""

import csv
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from training.arcface.export import export_onnx
from training.arcface.settings import Settings
from training.arcface.weightfiles import BACKBONE, BACKBONE_TENSORS, CLASSES, HEAD, PROGRAM
from training.container.aside import write_json, written_aside
from training.formats.listing import Listing

INPUT = {
    "size": [3, 112, 112],
    "colour": "RGB",
    "normalisation": "(x / 255 - 0.5) / 0.5",
    "alignment": "ArcFace five-point template",
}


def write_model(
    folder: Path,
    backbone: nn.Module,
    trained_on: Listing,
    settings: Settings,
    centres: Tensor | None = None,
) -> None:
    """backbone.pth, backbone.safetensors, head.safetensors, model.onnx, classes.csv and config.json.

    backbone: on any device; left on the CPU, in eval mode. centres: (classes, d) of all ranks, in the
    order of classes.csv, for a later job to start from; no head.safetensors without them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    backbone.eval().cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    state = {name: value.detach().contiguous() for name, value in backbone.state_dict().items()}
    with written_aside(folder / BACKBONE) as aside:
        torch.save(state, aside)
    _write_tensors(folder / BACKBONE_TENSORS, state, settings)
    if centres is not None:
        _write_tensors(folder / HEAD, {"centres": centres.detach().float().cpu()}, settings)
    export_onnx(backbone, folder / PROGRAM)
    _write_classes(folder / CLASSES, trained_on)
    write_json(folder / "config.json", {"algorithm": "arcface", **settings.public(), "input": INPUT})


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], settings: Settings) -> None:
    whole = {name: value.contiguous() for name, value in tensors.items()}
    with written_aside(path) as aside:
        save_file(whole, aside, metadata={"format": "pt", "network": settings.network})
        aside.chmod(0o644)  # it comes readable by its owner alone; what serves the model may be another user


def _write_classes(path: Path, listing: Listing) -> None:
    """class, identity, images: the row of the head that each identity was."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "identity", "images"])
        for number, (identity, count) in enumerate(zip(listing.identities, listing.counts(), strict=True)):
            writer.writerow([number, identity, int(count)])
