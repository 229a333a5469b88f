"""What depends on the step alone: pure functions, so that a resumed run needs no schedule's state."""


def steps_per_epoch(images: int, batch: int) -> int:
    """Full batches in one pass; one smaller batch where there are fewer images than that.

    The images left over are dropped, others in each epoch, because the order is drawn anew.
    """
    return max(1, images // batch)


def total_steps(images: int, batch: int, epochs: int, max_steps: int) -> int:
    """Steps of the whole run; `max_steps` 0 means no limit beside the epochs."""
    planned = steps_per_epoch(images, batch) * epochs
    return min(planned, max_steps) if max_steps else planned


def learning_rate(step: int, *, peak: float, warmup: int, total: int) -> float:
    """The rate of step 0 … total - 1: linear up to `peak` over `warmup` steps, then linear down to 0.

    Source: arcface_torch's PolynomialLRWarmup with its default power of 1. Counted so that the first step
    already moves the weights and the last one still does.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (total - step) / max(1, total - warmup)


def verifications(trained: int, embedded: int, at_most: int = 10) -> int:
    """How many verifications a run can afford: as many as take a tenth of its work, at least the last one.

    trained: images that all steps see together; embedded: forward passes of one verification. A trained image
    costs three forward passes, for the backward pass takes twice as long.
    """
    return max(1, min(at_most, trained * 3 // 10 // max(1, embedded)))


def verification_due(epoch: int, epochs: int, count: int) -> bool:
    """Whether to verify after this epoch (1 ... epochs): `count` times, evenly spaced, the last included."""
    return epoch * count // epochs > (epoch - 1) * count // epochs
