"""The algorithms that a job can name: their knobs, channels and metrics. Adding one is one entry here.

Defaults follow arcface_torch's published recipe (deepinsight/insightface, recognition/arcface_torch/configs)
where it has one: SGD 0.9, weight decay 5e-4, 20 epochs, s = 64, m = 0.5, gradient clip 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.jobs import contract

NETWORKS = ("r18", "r34", "r50", "r100", "r200", "mbf", "mbf_large", "vit_t", "vit_s", "vit_b")
COMMON_KNOBS = (  # that mean the same whatever is trained
    *("pretrained", "precision", "seed", "max_unreadable", "tracking_uri"),
    *("max_steps", "checkpoint_seconds", "checkpoint_steps", "log_interval"),
)
BEST_METRICS = ("accuracy", "eer", "auc", "rank_1", "tar_at_far_1e-2", "tar_at_far_1e-3", "tar_at_far_1e-4")


@dataclass(frozen=True)
class Knob:
    """One hyperparameter. `kind` is int, float, bool or str; bounds are inclusive, but for `above`."""

    kind: type
    default: Any
    doc: str
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""  # of a text, the whole of it; the default is an example


@dataclass(frozen=True)
class Metric:
    """What the service reads from the log: the first group of `regex` is the value."""

    name: str
    regex: str


@dataclass(frozen=True)
class Algorithm:
    """What the manifest, the request and the trainer need to know of an algorithm."""

    name: str
    knobs: Mapping[str, Knob]
    metrics: tuple[Metric, ...]
    channels: tuple[str, ...] = contract.CHANNELS
    required_channels: tuple[str, ...] = contract.REQUIRED_CHANNELS
    one_machine: bool = False  # whether a job takes no second
    identities: bool = True  # whether it learns who is on a picture
    cfg: tuple[str, ...] = (".json",)  # suffixes of what it reads in the channel of that name


_NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"


def _metric(name: str, line: str, key: str) -> Metric:
    """A ` key=value` of the log line that begins with `line`."""
    return Metric(name, rf"{line}.* {key}={_NUMBER}")


ARCFACE_KNOBS: Mapping[str, Knob] = {
    "network": Knob(str, "r50", "backbone", choices=NETWORKS),
    "pretrained": Knob(
        str, "", "file in the weights channel to start from; empty: the only one there, if any"
    ),
    "detector": Knob(str, "", "face detector (.onnx) in the weights channel that aligns photos; empty: none"),
    "epochs": Knob(int, 20, "passes over the images", minimum=1, maximum=1000),
    "max_steps": Knob(int, 0, "stop after so many steps; 0: after the epochs", minimum=0, maximum=10**8),
    "batch_size": Knob(int, 128, "images per step on each device", minimum=2, maximum=8192),
    "accumulate": Knob(
        int, 1, "parts of a step, each of batch_size images on each device", minimum=1, maximum=1024
    ),
    "optimizer": Knob(str, "sgd", "of network and centres", choices=("sgd", "adamw")),
    "lr": Knob(
        float,
        0.02,
        "peak learning rate; 0.02 suits a global batch of 128, 0.1 one of 1024",
        above=0,
        maximum=10,
    ),
    "lr_decay": Knob(
        str,
        "polynomial",
        "from the peak to 0: in a straight line, or along a cosine",
        choices=("polynomial", "cosine"),
    ),
    "retry_lr": Knob(
        float,
        0.0,
        "where the loss is no number, try once more with lr times this; 0: stop at once",
        minimum=0,
        maximum=0.9,
    ),
    "momentum": Knob(float, 0.9, "of SGD; of AdamW the first beta", minimum=0, maximum=0.999),
    "weight_decay": Knob(float, 5e-4, "of either optimizer", minimum=0, maximum=1),
    "ema": Knob(
        float,
        0.0,
        "decay of the weights' moving average, which is verified and kept; 0: none",
        minimum=0,
        maximum=0.99999,
    ),
    "warmup_epochs": Knob(float, 0.0, "linear warm-up, in epochs", minimum=0, maximum=100),
    "gradient_clip": Knob(
        float, 5.0, "largest gradient norm of the backbone; 0: none", minimum=0, maximum=1e6
    ),
    "loss": Knob(
        str, "arcface", "margin of the softmax", choices=("arcface", "cosface", "adaface", "combined")
    ),
    "scale": Knob(float, 64.0, "s of the margin softmax", above=0, maximum=1000),
    "margin": Knob(float, 0.5, "m of ArcFace (radians), CosFace or AdaFace", minimum=0, maximum=1.5),
    "margins": Knob(
        str,
        "1,0.5,0",
        "m1,m2,m3 of the combined loss: cos(m1 theta + m2) - m3",
        pattern=r" *[0-9.]+( *, *[0-9.]+){2} *",
    ),
    "margin_gradient": Knob(
        str,
        "exact",
        "derivative of the margin: exact, or arcface_torch's",
        choices=("exact", "straight_through"),
    ),
    "label_smoothing": Knob(
        float, 0.0, "share of the target spread over all classes", minimum=0, maximum=0.5
    ),
    "sample_rate": Knob(
        float, 1.0, "share of the other classes that each step compares with", above=0, maximum=1
    ),
    "interclass_filter": Knob(
        float,
        0.0,
        "leave out other classes whose cosine is above this: likely the same person; 0: none",
        minimum=0,
        maximum=1,
    ),
    "flip": Knob(bool, True, "mirror images at random"),
    "crop": Knob(float, 0.0, "chance of a shift and zoom", minimum=0, maximum=1),
    "low_res": Knob(float, 0.0, "chance of a low resolution", minimum=0, maximum=1),
    "colour": Knob(float, 0.0, "chance of another brightness, contrast and saturation", minimum=0, maximum=1),
    "blur": Knob(float, 0.0, "chance of a blur, out of focus or moved", minimum=0, maximum=1),
    "jpeg": Knob(float, 0.0, "chance of what a JPEG file loses", minimum=0, maximum=1),
    "mask": Knob(float, 0.0, "chance of a drawn mask over mouth and nose", minimum=0, maximum=1),
    "precision": Knob(
        str, "auto", "auto: bf16 where the device has it", choices=("auto", "fp32", "bf16", "fp16")
    ),
    "compile": Knob(str, "auto", "torch.compile; auto: where it pays", choices=("auto", "on", "off")),
    "holdout_fraction": Knob(
        float,
        0.1,
        "share of the identities kept for verification without a validation channel",
        minimum=0,
        maximum=0.9,
    ),
    "best_metric": Knob(
        str, "last", "keep the weights that verify best by this, or the last", choices=("last", *BEST_METRICS)
    ),
    "patience": Knob(
        int, 0, "stop after so many verifications without a better one; 0: never", minimum=0, maximum=1000
    ),
    "seed": Knob(
        int,
        0,
        "of the split, the order, the initial weights, the flips and other changes",
        minimum=0,
        maximum=2**31 - 1,
    ),
    "workers": Knob(int, -1, "decoding threads; -1: one per processor", minimum=-1, maximum=256),
    "checkpoint_seconds": Knob(float, 600.0, "time between checkpoints", above=0, maximum=86400),
    "checkpoint_steps": Knob(
        int, 0, "steps between checkpoints, beside the time; 0: by time alone", minimum=0, maximum=10**8
    ),
    "log_interval": Knob(int, 20, "steps between log lines", minimum=1, maximum=10**6),
    "max_unreadable": Knob(float, 0.1, "largest share of unreadable images", minimum=0, maximum=1),
    "thumbnails": Knob(bool, True, "show the hardest pairs as pictures in the report"),
    "tracking_uri": Knob(str, "", "MLflow server to tell the figures to; empty: none"),
}

ARCFACE_METRICS = (
    _metric("train:loss", "epoch=", "loss"),
    _metric("train:lr", "epoch=", "lr"),
    _metric("train:images_per_second", "epoch=", "images_per_second"),
    _metric("validation:accuracy", "verification", "accuracy"),
    _metric("validation:eer", "verification", "eer"),
    _metric("validation:auc", "verification", "auc"),
    _metric("validation:rank_1", "verification", "rank_1"),
    _metric("validation:tar_at_far_1e-2", "verification", "tar_at_far_1e-2"),
    _metric("validation:tar_at_far_1e-3", "verification", "tar_at_far_1e-3"),
)

# Defaults are ultralytics' own, which are those of YOLOv5 v6.2's hyp.scratch-low.yaml where it has the name.
YOLOV5_KNOBS: Mapping[str, Knob] = {
    "model": Knob(
        str,
        "",
        "yolov5n, s, m, l or x, or a YAML in the cfg channel; empty: the one there, or as pretrained says",
    ),
    "epochs": Knob(int, 100, "passes over the pictures", minimum=1, maximum=10000),
    "batch_size": Knob(int, 16, "pictures per step on each device", minimum=1, maximum=1024),
    "image_size": Knob(
        int, 640, "side of the square that pictures are fitted into, in pixels", minimum=32, maximum=4096
    ),
    "optimizer": Knob(str, "sgd", "of the network", choices=("sgd", "adam", "adamw")),
    "lr": Knob(float, 0.01, "peak learning rate", above=0, maximum=1),
    "lr_final": Knob(float, 0.01, "share of lr that is left at the end", above=0, maximum=1),
    "lr_decay": Knob(
        str, "linear", "from the peak: in a straight line, or along a cosine", choices=("linear", "cosine")
    ),
    "momentum": Knob(float, 0.937, "of SGD; of the others the first beta", minimum=0, maximum=0.999),
    "weight_decay": Knob(float, 5e-4, "of any optimizer", minimum=0, maximum=1),
    "warmup_epochs": Knob(float, 3.0, "linear warm-up, in epochs", minimum=0, maximum=100),
    "warmup_momentum": Knob(float, 0.8, "momentum that it begins with", minimum=0, maximum=0.999),
    "warmup_bias_lr": Knob(float, 0.1, "learning rate that biases begin with", minimum=0, maximum=1),
    "hsv_h": Knob(float, 0.015, "largest change of the hue, as a share", minimum=0, maximum=1),
    "hsv_s": Knob(float, 0.7, "largest change of the saturation, as a share", minimum=0, maximum=1),
    "hsv_v": Knob(float, 0.4, "largest change of the brightness, as a share", minimum=0, maximum=1),
    "degrees": Knob(float, 0.0, "largest turn, in degrees", minimum=0, maximum=180),
    "translate": Knob(float, 0.1, "largest shift, as a share of the picture", minimum=0, maximum=1),
    "scale": Knob(float, 0.5, "largest change of the size, as a share", minimum=0, maximum=1),
    "shear": Knob(float, 0.0, "largest shear, in degrees", minimum=0, maximum=90),
    "perspective": Knob(float, 0.0, "largest change of the perspective", minimum=0, maximum=0.001),
    "flipud": Knob(float, 0.0, "chance of a picture upside down", minimum=0, maximum=1),
    "fliplr": Knob(float, 0.5, "chance of a mirrored picture", minimum=0, maximum=1),
    "mosaic": Knob(float, 1.0, "chance of four pictures in one", minimum=0, maximum=1),
    "close_mosaic": Knob(int, 10, "last epochs without mosaics", minimum=0, maximum=10000),
    "mixup": Knob(float, 0.0, "chance of two pictures through each other", minimum=0, maximum=1),
    "val_fraction": Knob(
        float,
        0.1,
        "share of the pictures kept to measure on where there is no folder val",
        minimum=0,
        maximum=0.9,
    ),
    "patience": Knob(
        int, 100, "stop after so many epochs without a better one; 0: never", minimum=0, maximum=10000
    ),
    "workers": Knob(
        int,
        -1,
        "processes that make batches; -1: up to 8 for a GPU, else none",
        minimum=-1,
        maximum=256,
    ),
    "thumbnails": Knob(bool, True, "show pictures with what was found in them in the report"),
    **{name: ARCFACE_KNOBS[name] for name in COMMON_KNOBS},
}

YOLOV5_METRICS = (
    _metric("train:box_loss", "epoch=", "box_loss"),
    _metric("train:cls_loss", "epoch=", "cls_loss"),
    _metric("train:dfl_loss", "epoch=", "dfl_loss"),
    _metric("train:lr", "epoch=", "lr"),
    _metric("train:images_per_second", "epoch=", "images_per_second"),
    _metric("validation:precision", "detection", "precision"),
    _metric("validation:recall", "detection", "recall"),
    _metric("validation:map50", "detection", "map50"),
    _metric("validation:map50_95", "detection", "map50_95"),
)

ALGORITHMS: Mapping[str, Algorithm] = {
    "arcface": Algorithm("arcface", ARCFACE_KNOBS, ARCFACE_METRICS),
    "yolov5": Algorithm(
        "yolov5",
        YOLOV5_KNOBS,
        YOLOV5_METRICS,
        channels=("images", "labels", "cfg", "weights"),
        required_channels=("images", "cfg"),
        one_machine=True,
        identities=False,
        cfg=(".json", ".yaml", ".yml"),
    ),
}
