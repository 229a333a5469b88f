"""The configuration as a typed value: one field for each of YOLOv5's knobs in training/jobs/algorithms.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.jobs.algorithms import YOLOV5_KNOBS


def _default(name: str) -> Any:
    return YOLOV5_KNOBS[name].default


@dataclass(frozen=True)
class Settings:
    """What each field means, and its range, is said by its Knob. A test holds the two lists together."""

    model: str = _default("model")
    epochs: int = _default("epochs")
    batch_size: int = _default("batch_size")
    image_size: int = _default("image_size")
    optimizer: str = _default("optimizer")
    lr: float = _default("lr")
    lr_final: float = _default("lr_final")
    lr_decay: str = _default("lr_decay")
    momentum: float = _default("momentum")
    weight_decay: float = _default("weight_decay")
    warmup_epochs: float = _default("warmup_epochs")
    warmup_momentum: float = _default("warmup_momentum")
    warmup_bias_lr: float = _default("warmup_bias_lr")
    hsv_h: float = _default("hsv_h")
    hsv_s: float = _default("hsv_s")
    hsv_v: float = _default("hsv_v")
    degrees: float = _default("degrees")
    translate: float = _default("translate")
    scale: float = _default("scale")
    shear: float = _default("shear")
    perspective: float = _default("perspective")
    flipud: float = _default("flipud")
    fliplr: float = _default("fliplr")
    mosaic: float = _default("mosaic")
    close_mosaic: int = _default("close_mosaic")
    mixup: float = _default("mixup")
    val_fraction: float = _default("val_fraction")
    patience: int = _default("patience")
    workers: int = _default("workers")
    thumbnails: bool = _default("thumbnails")
    pretrained: str = _default("pretrained")
    precision: str = _default("precision")
    seed: int = _default("seed")
    max_unreadable: float = _default("max_unreadable")
    tracking_uri: str = _default("tracking_uri")
    max_steps: int = _default("max_steps")
    checkpoint_seconds: float = _default("checkpoint_seconds")
    checkpoint_steps: int = _default("checkpoint_steps")
    log_interval: int = _default("log_interval")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Settings":
        """From what `training.jobs.config.resolve` gives."""
        return cls(**config)
