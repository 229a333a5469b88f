"""A detector's job as teams have it: v6.2's files, pictures of coloured rectangles, and their labels."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.jobs.contract import ContainerPaths

# As YOLOv5 v6.2 writes its models/yolov5s.yaml.
MODEL = """
nc: 80  # number of classes
depth_multiple: 0.33  # model depth multiple
width_multiple: 0.50  # layer channel multiple
anchors:
  - [10,13, 16,30, 33,23]  # P3/8
  - [30,61, 62,45, 59,119]  # P4/16
  - [116,90, 156,198, 373,326]  # P5/32
backbone:
  [[-1, 1, Conv, [64, 6, 2, 2]],
   [-1, 1, Conv, [128, 3, 2]],
   [-1, 3, C3, [128]],
   [-1, 1, Conv, [256, 3, 2]],
   [-1, 6, C3, [256]],
   [-1, 1, Conv, [512, 3, 2]],
   [-1, 9, C3, [512]],
   [-1, 1, Conv, [1024, 3, 2]],
   [-1, 3, C3, [1024]],
   [-1, 1, SPPF, [1024, 5]],
  ]
head:
  [[-1, 1, Conv, [512, 1, 1]],
   [-1, 1, nn.Upsample, [None, 2, 'nearest']],
   [[-1, 6], 1, Concat, [1]],
   [-1, 3, C3, [512, False]],
   [-1, 1, Conv, [256, 1, 1]],
   [-1, 1, nn.Upsample, [None, 2, 'nearest']],
   [[-1, 4], 1, Concat, [1]],
   [-1, 3, C3, [256, False]],
   [-1, 1, Conv, [256, 3, 2]],
   [[-1, 14], 1, Concat, [1]],
   [-1, 3, C3, [512, False]],
   [-1, 1, Conv, [512, 3, 2]],
   [[-1, 10], 1, Concat, [1]],
   [-1, 3, C3, [1024, False]],
   [[17, 20, 23], 1, Detect, [nc, anchors]],
  ]
"""
# As its data/hyps/hyp.scratch-low.yaml names them.
HYP = """
lr0: 0.02
lrf: 0.1
momentum: 0.9
weight_decay: 0.0005
warmup_epochs: 1.0
warmup_momentum: 0.8
warmup_bias_lr: 0.1
box: 0.05
cls: 0.5
cls_pw: 1.0
obj: 1.0
obj_pw: 1.0
iou_t: 0.20
anchor_t: 4.0
fl_gamma: 0.0
hsv_h: 0.015
hsv_s: 0.7
hsv_v: 0.4
degrees: 0.0
translate: 0.1
scale: 0.5
shear: 0.0
perspective: 0.0
flipud: 0.0
fliplr: 0.5
mosaic: 1.0
mixup: 0.0
copy_paste: 0.0
"""
DATASET = """
path: ../datasets/shapes
train: images/train
val: images/val
nc: 2
names: ['red', 'blue']
"""
TRAIN_ARGS = {"epochs": 2, "batch_size": 4}
KNOBS = {"algorithm": "yolov5", "model": "yolov5n", "image_size": 64, "log_interval": 1, "workers": 0}
COLOURS = ((230, 40, 40), (40, 40, 230))
WIDTH, HEIGHT = 80, 60


def write_cfg(folder: Path, **files: str) -> Path:
    """The cfg channel, with others of its files where they are named: hyp="…" for hyp.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ({"data": DATASET} | files).items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def write_pictures(base: ContainerPaths, role: str, count: int, first: int = 0) -> None:
    """`count` pictures of one or two rectangles, with their labels."""
    numbers = np.random.default_rng([first, count])
    folders = [base.channel(name) / role for name in ("images", "labels")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        pixels = numbers.integers(90, 140, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        rows = []
        for colour in range(1 + number % 2):
            width, height = numbers.integers(14, 30, 2)
            left, top = numbers.integers(0, WIDTH - width), numbers.integers(0, HEIGHT - height)
            pixels[top : top + height, left : left + width] = COLOURS[colour]
            middle = ((left + width / 2) / WIDTH, (top + height / 2) / HEIGHT)
            rows.append(
                f"{colour} {middle[0]:.6f} {middle[1]:.6f} {width / WIDTH:.6f} {height / HEIGHT:.6f}\n"
            )
        Image.fromarray(pixels).save(folders[0] / f"{number:04}.png")
        (folders[1] / f"{number:04}.txt").write_text("".join(rows))


def write_job(base: Path, train: int = 10, val: int = 4, **knobs: Any) -> ContainerPaths:
    """A folder to be /opt/ml."""
    paths = ContainerPaths(base)
    paths.config.mkdir(parents=True, exist_ok=True)
    values = {name: str(value) for name, value in (KNOBS | knobs).items()}
    paths.hyperparameters.write_text(json.dumps(values))
    write_cfg(paths.channel("cfg"))
    write_train_args(paths, TRAIN_ARGS)
    write_pictures(paths, "train", train)
    if val:
        write_pictures(paths, "val", val, 1000)
    return paths


def write_train_args(paths: ContainerPaths, values: Mapping[str, Any]) -> None:
    (paths.channel("cfg") / "train-args.json").write_text(json.dumps(dict(values)))
