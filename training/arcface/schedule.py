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


def evaluation_due(epoch: int, epochs: int, at_most: int = 10) -> bool:
    """Whether to verify after this epoch (1 … epochs): after each, or after `at_most` evenly spaced ones."""
    return epoch * at_most // epochs > (epoch - 1) * at_most // epochs or epoch == epochs
