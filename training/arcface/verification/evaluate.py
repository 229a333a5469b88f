"""From images to figures: every rank embeds its share, the first compares."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.arcface.backbones import EMBEDDING_SIZE
from training.arcface.data.store import Images
from training.arcface.distributed import World
from training.arcface.learner import to_input
from training.arcface.verification.groups import by_group
from training.arcface.verification.identification import rank_1
from training.arcface.verification.metrics import verify
from training.arcface.verification.pairs import similarities
from training.arcface.verification.sets import EvaluationSet
from training.container.errors import TrainingError

# Batches, not images, are shared out: whatever the number of ranks, the same images are embedded together,
# and the embeddings are the same to the last bit.
BATCH = 64
PATIENCE_SECONDS = 30  # between lines that say how far it is
MEANS = ("accuracy", "accuracy_std", "eer", "auc", "rank_1", "threshold")
IN_LINE = ("eer", "auc", "rank_1", "threshold")

Embed = Callable[[Tensor], Tensor]
Scores = NDArray[np.floating[Any]]
Pairs = NDArray[np.int64]


@dataclass(frozen=True)
class SetResult:
    """One set's scores, and the images that they are of: what a report draws from."""

    name: str
    genuine: Scores  # cosine similarities, (n,)
    impostor: Scores
    genuine_pairs: Pairs  # (n, 2), indices into images
    impostor_pairs: Pairs
    images: Images
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """What is said of the network: `figures` on every rank, `sets` on the first alone.

    figures: those of the only set; of several, the means over the sets that allow a figure, and each set's
    own under "sets".
    """

    figures: dict[str, Any]
    sets: tuple[SetResult, ...]


def evaluate(
    embed: Embed, sets: Sequence[EvaluationSet], world: World, log: Callable[[str], None]
) -> Evaluation:
    """The figures of every set, told to the log. All ranks call it together.

    embed: float (n, 3, 112, 112), normalised, to the directions of image and mirror image together, (n, d) of
    length 1. Raises TrainingError where an embedding is not finite.
    """
    results = []
    for one in sets:
        embedded, usable = embeddings(embed, one, world, log)
        if world.rank == 0:
            results.append(compare(one, embedded, usable))
    figures = world.from_first(_together(results) if world.rank == 0 else {})
    for name, own in figures.get("sets", {}).items():
        log(f"verified set={name} {line(own)}")
    log(f"verification {line(figures)}")
    return Evaluation(figures, tuple(results))


def embeddings(
    embed: Embed, one: EvaluationSet, world: World, log: Callable[[str], None]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Of every image, (n, d), and whether that image could be read, (n,); on every rank."""
    first, last = world.shard(-(-one.count // BATCH))
    begin, end = first * BATCH, min(one.count, last * BATCH)
    shards, read, told = [], [], time.monotonic()
    for start in range(begin, end, BATCH):
        if time.monotonic() - told > PATIENCE_SECONDS:
            log(f"embedding set={one.name} images={start - begin}/{end - begin}")
            told = time.monotonic()
        wanted = np.arange(start, min(start + BATCH, one.count))
        pixels, taken = one.images.take(wanted)
        shards.append(embed(to_input(pixels, world.device)).float())
        read.append(torch.from_numpy(taken == wanted).to(world.device))
    shard = torch.cat(shards) if shards else torch.empty((0, EMBEDDING_SIZE), device=world.device)
    usable = torch.cat(read) if read else torch.empty(0, dtype=torch.bool, device=world.device)
    counts = world.row_counts(len(shard))
    whole = world.gather(shard, counts).cpu().numpy()
    if bad := int((~np.isfinite(whole).all(axis=1)).sum()):
        raise TrainingError(
            f"verification: {bad} of {len(whole)} embeddings are not finite numbers: the weights are broken, "
            f"or precision is too low for them: set precision to fp32"
        )
    return whole, world.gather(usable.to(torch.uint8), counts).bool().cpu().numpy()


def compare(one: EvaluationSet, embedded: NDArray[np.float32], usable: NDArray[np.bool_]) -> SetResult:
    """One set's result. embedded: (images, d), of length 1; usable: which images may be compared."""
    whole = usable[one.first] & usable[one.second]
    pairs, same = np.stack([one.first, one.second], axis=1)[whole], one.same[whole]
    folds = one.folds[whole] if one.folds is not None else None
    scores = similarities(embedded, pairs)
    genuine, impostor = scores[same], scores[~same]
    found = verify(genuine, impostor, (folds[same], folds[~same]) if folds is not None else None)
    figures = found.as_dict()
    if one.labels is None:
        figures["rank_1"], reason = None, "the set does not say whose its images are"
    else:
        figures["rank_1"], reason = rank_1(embedded[usable], one.labels[usable])
    if reason:
        figures["refused"] = {**figures["refused"], "rank_1": reason}
    if one.groups is not None:
        figures["groups"] = by_group(
            one.groups, (pairs[same], genuine), (pairs[~same], impostor), found.threshold
        )
    return SetResult(one.name, genuine, impostor, pairs[same], pairs[~same], one.images, figures)


def line(figures: Mapping[str, Any]) -> str:
    """The figures as the log shows them: key=value, refused ones left out."""
    shown = {"accuracy": figures["accuracy"]}
    shown |= {f"tar_at_far_{far}": tar for far, tar in figures["tar_at_far"].items()}
    shown |= {name: figures.get(name) for name in IN_LINE}
    counts = f"genuine={figures['genuine']} impostor={figures['impostor']}"
    known = [f"{name}={value:.4f}" for name, value in shown.items() if value is not None]
    return " ".join([*known, counts])


def _together(results: Sequence[SetResult]) -> dict[str, Any]:
    """The figures of all sets: means over those that allow each, and the sets' own."""
    own = {result.name: dict(result.figures) for result in results}
    if len(results) == 1:
        return own[results[0].name]
    every = list(own.values())
    refused: dict[str, str] = {}
    for name, figures in own.items():
        for what in figures["refused"]:
            refused[what] = f"{refused[what]}, {name}" if what in refused else f"not in the mean: {name}"
    return {
        **{name: _mean([figures[name] for figures in every]) for name in MEANS},
        "genuine": sum(figures["genuine"] for figures in every),
        "impostor": sum(figures["impostor"] for figures in every),
        **{kind: {far: _mean([f[kind].get(far) for f in every]) for far in _fars(every)} for kind in _BY_FAR},
        "refused": refused,
        "sets": own,
    }


_BY_FAR = ("tar_at_far", "threshold_at_far")


def _fars(every: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(far for figures in every for far in figures["tar_at_far"]))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
