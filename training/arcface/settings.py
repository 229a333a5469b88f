"""The configuration as a typed value: one field for each knob in training/jobs/algorithms.py."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training.container import tracking
from training.jobs.algorithms import ARCFACE_KNOBS


def _default(name: str) -> Any:
    return ARCFACE_KNOBS[name].default


@dataclass(frozen=True)
class Settings:
    """What each field means, and its range, is said by its Knob. A test holds the two lists together."""

    network: str = _default("network")
    pretrained: str = _default("pretrained")
    detector: str = _default("detector")
    epochs: int = _default("epochs")
    max_steps: int = _default("max_steps")
    batch_size: int = _default("batch_size")
    accumulate: int = _default("accumulate")
    optimizer: str = _default("optimizer")
    lr: float = _default("lr")
    lr_decay: str = _default("lr_decay")
    retry_lr: float = _default("retry_lr")
    momentum: float = _default("momentum")
    weight_decay: float = _default("weight_decay")
    ema: float = _default("ema")
    warmup_epochs: float = _default("warmup_epochs")
    gradient_clip: float = _default("gradient_clip")
    loss: str = _default("loss")
    scale: float = _default("scale")
    margin: float = _default("margin")
    margins: str = _default("margins")
    margin_gradient: str = _default("margin_gradient")
    label_smoothing: float = _default("label_smoothing")
    sample_rate: float = _default("sample_rate")
    interclass_filter: float = _default("interclass_filter")
    flip: bool = _default("flip")
    crop: float = _default("crop")
    low_res: float = _default("low_res")
    colour: float = _default("colour")
    blur: float = _default("blur")
    jpeg: float = _default("jpeg")
    mask: float = _default("mask")
    precision: str = _default("precision")
    compile: str = _default("compile")
    holdout_fraction: float = _default("holdout_fraction")
    best_metric: str = _default("best_metric")
    patience: int = _default("patience")
    seed: int = _default("seed")
    workers: int = _default("workers")
    checkpoint_seconds: float = _default("checkpoint_seconds")
    checkpoint_steps: int = _default("checkpoint_steps")
    log_interval: int = _default("log_interval")
    max_unreadable: float = _default("max_unreadable")
    thumbnails: bool = _default("thumbnails")
    tracking_uri: str = _default("tracking_uri")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Settings":
        """From what `training.jobs.config.resolve` gives."""
        return cls(**config)

    def public(self) -> dict[str, Any]:
        """As others may read them: an address without the password that may be in it."""
        return tracking.public(asdict(self))
