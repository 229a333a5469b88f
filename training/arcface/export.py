"""The model as ONNX, compared with PyTorch before anyone can pick it up."""

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from training.arcface.backbones import IMAGE_SIZE
from training.container.aside import written_aside
from training.container.errors import TrainingError

# Cosine between the two runtimes' embeddings of one image: fp32 rounding alone stays far closer than this.
LEAST_COSINE = 0.9999
OPSET = 17


def export_onnx(backbone: nn.Module, path: Path) -> None:
    """Writes input (batch, 3, 112, 112) to embedding (batch, 512), as insightface reads it.

    backbone: in eval mode, on the CPU. Raises RuntimeError where ONNX Runtime's embeddings differ from
    PyTorch's, TrainingError where those are no finite numbers.
    """
    with written_aside(path) as aside:
        _trace(backbone, aside)
        _compare(backbone, aside)


def _trace(backbone: nn.Module, path: Path) -> None:
    example = torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE)
    with warnings.catch_warnings():
        # The tracing exporter: these networks have no branches, and the newer one takes ten times as long.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            backbone,
            (example,),
            str(path),
            input_names=["input"],
            output_names=["embedding"],
            dynamic_axes={"input": {0: "batch"}, "embedding": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def _compare(backbone: nn.Module, path: Path) -> None:
    images = torch.rand(3, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = backbone(images).numpy()
    if not np.isfinite(expected).all():
        raise TrainingError(
            "the network's embeddings are no finite numbers, so there is no model to export: lower lr, or "
            "set precision to fp32"
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (1, 3):  # one size could have been frozen into the graph
        got = session.run(None, {"input": images[:batch].numpy()})[0]
        cosines = (got * expected[:batch]).sum(1) / (
            np.linalg.norm(got, axis=1) * np.linalg.norm(expected[:batch], axis=1)
        )
        if not (cosines > LEAST_COSINE).all():
            raise RuntimeError(f"ONNX differs from PyTorch: cosine {cosines.min():.6f} at batch {batch}")
