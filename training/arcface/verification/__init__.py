"""Is it the same person? `sets` says what is compared, `evaluate` embeds and compares, `metrics` judges."""

from training.formats.bins import read_bin

__all__ = ["read_bin"]
