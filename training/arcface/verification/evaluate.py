"""From images to figures: every rank embeds its share, all of them compare."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from training.arcface.data.store import Dataset
from training.arcface.learner import Learner, to_input
from training.arcface.settings import Settings
from training.arcface.verification.metrics import verify
from training.arcface.verification.pairs import draw


def evaluate(
    learner: Learner, held_out: Dataset | None, settings: Settings, log: Callable[[str], None]
) -> dict[str, Any] | None:
    """The figures on held-out identities, told to the log; None where nobody is held out."""
    if held_out is None:
        return None
    found = verify(*draw(held_out.listing.labels, settings.seed).scores(embeddings(learner, held_out)))
    log(f"verification {found.line()}")
    return found.as_dict()


def embeddings(learner: Learner, dataset: Dataset, batch: int = 64) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Of every image, (n, 512), of length 1. The ranks share the work; all of them get all."""
    world, count = learner.world, len(dataset.listing)
    first, last = world.shard(count)
    own = []
    for start in range(first, last, batch):
        pixels, _ = dataset.images.take(np.arange(start, min(start + batch, last)))
        own.append(learner.embed(to_input(pixels, world.device)))
    shard = torch.cat(own) if own else torch.empty((0, 512), device=world.device)
    result: np.ndarray[Any, np.dtype[np.float32]] = world.whole(shard, count).cpu().numpy()
    return result
