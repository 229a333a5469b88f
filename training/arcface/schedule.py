"""What depends on the step alone: pure functions, so that a resumed run needs no schedule's state."""

import math


def steps_per_epoch(images: int, batch: int) -> int:
    """Full batches in one pass; one smaller batch where there are fewer images than that.

    The images left over are dropped, others in each epoch, because the order is drawn anew.
    """
    return max(1, images // batch)


def total_steps(images: int, batch: int, epochs: int, max_steps: int) -> int:
    """Steps of the whole run; `max_steps` 0 means no limit beside the epochs."""
    planned = steps_per_epoch(images, batch) * epochs
    return min(planned, max_steps) if max_steps else planned


def learning_rate(step: int, *, peak: float, warmup: int, total: int, decay: str = "polynomial") -> float:
    """The rate of step 0 … total - 1: linear up to `peak` over `warmup` steps, then down towards 0.

    decay: "polynomial" is arcface_torch's PolynomialLRWarmup with its default power of 1, a straight line;
    "cosine" is half a wave (Loshchilov and Hutter 2017, arXiv:1608.03983). Counted so that the first step
    already moves the weights and the last one still does.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    if decay == "cosine":
        return peak * (1 + math.cos(math.pi * done)) / 2
    return peak * (1 - done)


def usual_rate(optimizer: str, batch: int) -> float:
    """The peak rate that arcface_torch's recipes use for a global batch of so many images.

    SGD: 0.02 at 128 and 0.1 at 1024; for other batches along the power of the batch through both. AdamW: the
    0.001 of its ViT configurations.
    """
    return 0.02 * (batch / 128) ** 0.774 if optimizer == "sgd" else 0.001


def average_decay(step: int, decay: float) -> float:
    """How much of the weights' moving average remains at step 0, 1, …

    Less at first, or a short run's average would consist of the weights that it began with (the rule of
    TensorFlow's ExponentialMovingAverage with num_updates).
    """
    return min(decay, (1 + step) / (10 + step))


def parts_per_step(batch: int, ranks: int, batch_size: int) -> int:
    """Into how many parts each rank cuts its share of a step, so that none is above `batch_size`.

    The same on every rank, whose shares differ by one image at most. No part has fewer than the two images
    that BatchNorm needs; where `batch_size` is 2 or 3 one may have four for that reason.
    """
    largest, smallest = -(-batch // ranks), batch // ranks
    return max(1, min(-(-largest // batch_size), smallest // 2))


def cuts(count: int, parts: int) -> list[int]:
    """Where `count` images are cut into parts that differ by one at most: parts + 1 bounds."""
    return [part * count // parts for part in range(parts + 1)]


def verifications(trained: int, embedded: int, at_most: int = 10) -> int:
    """How many verifications a run can afford: as many as take a tenth of its work, at least the last one.

    trained: images that all steps see together; embedded: forward passes of one verification. A trained image
    costs three forward passes, for the backward pass takes twice as long.
    """
    return max(1, min(at_most, trained * 3 // 10 // max(1, embedded)))


def verification_due(epoch: int, epochs: int, count: int) -> bool:
    """Whether to verify after this epoch (1 ... epochs): `count` times, evenly spaced, the last included."""
    return epoch * count // epochs > (epoch - 1) * count // epochs
