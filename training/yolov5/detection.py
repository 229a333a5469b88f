"""How well a network detects: average precision over pictures that were kept aside, as COCO measures it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from ultralytics.utils.metrics import ap_per_class, box_iou
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import xywh2xyxy

from training.yolov5.report.pictures import SHOWN_FROM, Example, worst
from training.yolov5.samples import Samples, batches

with suppress(ImportError, RuntimeError, OSError):  # its NMS is faster; beside torch for CPUs it cannot load
    import torchvision  # noqa: F401

LEAST_SCORE, OVERLAP, MOST_BOXES = 0.001, 0.7, 300  # as ultralytics and YOLOv5 measure
IOUS = np.linspace(0.5, 0.95, 10)
POINTS = 100  # of a curve
PATIENCE = 3600.0  # seconds a picture may take: ultralytics would leave boxes out after a twentieth of one

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Detection:
    """figures: plain values for metrics.json, those of each class under `classes`.

    recall, precision: of a curve over all classes, (POINTS,) each, at IoU 0.5. worst: pictures.
    """

    figures: Mapping[str, Any]
    recall: Values
    precision: Values
    worst: tuple[Example, ...] = ()


@dataclass(frozen=True)
class _Scored:
    """One batch's boxes over all its pictures. hits: (n, 10), right at each of IOUS."""

    hits: Flags
    scores: Values
    classes: Values
    wanted: Values  # the classes of the boxes that are there


def measure(
    network: nn.Module, samples: Samples, classes: Sequence[str], *, workers: int, check: Callable[[], None]
) -> Detection:
    """Precision and recall are those at the score where their balance (F1) is best.

    check: called after each batch; may raise.
    """
    network.eval()
    device = next(network.parameters()).device
    scored: list[_Scored] = []
    examples: list[Example] = []
    with torch.inference_mode():
        for batch in batches(samples, iter(_in_order(samples)), workers):
            pictures = batch["img"].to(device).float() / 255
            predicted = non_max_suppression(
                network(pictures),
                LEAST_SCORE,
                OVERLAP,
                multi_label=True,
                max_det=MOST_BOXES,
                max_time_img=PATIENCE,
            )
            for number, found in enumerate(predicted):
                boxes, wanted = _truth(batch, number)
                scored.append(_score(found, boxes, wanted))
                examples.append(_example(batch["img"][number], boxes, found, scored[-1]))
            examples = worst(examples)
            check()
    return replace(_summed_up(scored, classes), worst=tuple(examples))


def _in_order(samples: Samples) -> Iterator[list[tuple[int, int]]]:
    for first in range(0, len(samples), samples.batch_size):
        yield [(0, number) for number in range(first, min(first + samples.batch_size, len(samples)))]


def _truth(batch: Mapping[str, Any], number: int) -> tuple[Tensor, Tensor]:
    """Boxes, (n, 4) in pixels from corner to corner, and classes, (n,), of a picture."""
    mine = batch["batch_idx"] == number
    height, width = batch["img"].shape[2:]
    boxes = xywh2xyxy(batch["bboxes"][mine]) * torch.tensor([width, height, width, height])
    return boxes, batch["cls"][mine][:, 0]


def _score(predicted: Tensor, boxes: Tensor, classes: Tensor) -> _Scored:
    """predicted: (n, 6), corners, score, class; best first."""
    found = predicted.float().cpu()
    overlaps = box_iou(boxes.float(), found[:, :4]) * (classes[:, None] == found[:, 5])
    return _Scored(
        matched(overlaps.numpy()),
        found[:, 4].numpy().astype(float),
        found[:, 5].numpy().astype(float),
        classes.numpy().astype(float),
    )


def _example(pixels: Tensor, boxes: Tensor, predicted: Tensor, scored: _Scored) -> Example:
    shown = scored.scores >= SHOWN_FROM
    found = predicted[:, :4].float().cpu().numpy()
    upright = pixels.permute(1, 2, 0).contiguous().numpy()
    return Example(upright, boxes.numpy(), found[shown], scored.hits[shown, 0])


def matched(overlaps: NDArray[np.floating[Any]]) -> Flags:
    """Which predictions are right, (n, 10): each box is found once, by the best score that overlaps enough.

    overlaps: (boxes, predictions), IoU where the class is the same and 0 elsewhere; predictions best first.
    """
    hits = np.zeros((overlaps.shape[1], len(IOUS)), dtype=bool)
    taken = np.zeros((overlaps.shape[0], len(IOUS)), dtype=bool)
    for number in np.flatnonzero((overlaps >= IOUS[0]).any(0)):
        free = np.where(taken, 0, overlaps[:, number, None])
        best = free.argmax(0)
        hits[number] = free[best, range(len(IOUS))] >= IOUS
        taken[best, range(len(IOUS))] |= hits[number]
    return hits


def _summed_up(scored: Sequence[_Scored], classes: Sequence[str]) -> Detection:
    wanted = np.concatenate([one.wanted for one in scored])
    *_, precision, recall, _, average, present, _, _, _, grid, curves = ap_per_class(
        np.concatenate([one.hits for one in scored]),
        np.concatenate([one.scores for one in scored]),
        np.concatenate([one.classes for one in scored]),
        wanted,
    )
    rows: list[dict[str, Any]] = [
        {
            "name": classes[int(number)],
            "objects": int((wanted == number).sum()),
            "precision": _rounded(precision[row]),
            "recall": _rounded(recall[row]),
            "map50": _rounded(average[row, 0]),
            "map50_95": _rounded(average[row].mean()),
        }
        for row, number in enumerate(present)
    ]
    figures = {
        name: _rounded(np.mean([row[name] for row in rows]))
        for name in ("precision", "recall", "map50", "map50_95")
    }
    every = np.linspace(0, len(grid) - 1, POINTS).astype(int)
    return Detection(
        {**figures, "pictures": len(scored), "objects": len(wanted), "classes": rows},
        np.asarray(grid)[every],
        np.asarray(curves).mean(0)[every],
    )


def _rounded(value: Any) -> float:
    return round(float(value), 5)
