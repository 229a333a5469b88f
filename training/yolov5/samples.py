"""Pictures and boxes as the network takes them, each changed at random by its own seed.

ultralytics changes them. It draws from the process's generators and, for a mosaic, from the pictures that it
read last. Here the seed of each picture in each epoch is set before it is made, and a mosaic draws from all:
so a batch is the same whoever makes it, also after an interruption.
"""

import random
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from ultralytics.cfg import get_cfg
from ultralytics.data.dataset import YOLODataset

from training.container.errors import TrainingError
from training.yolov5.dataset import Pictures
from training.yolov5.schedule import Plan
from training.yolov5.settings import Settings

Batch = dict[str, Any]
Key = tuple[int, int]  # epoch (0, 1, …) and number of the picture
CHANGES = (
    *("hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear", "perspective", "flipud", "fliplr"),
    *("mosaic", "mixup"),
)


class Samples(YOLODataset):  # type: ignore[misc]
    """The pictures of one role. changed: at random, as for training; else only scaled and framed in grey."""

    def __init__(self, pictures: Pictures, classes: Sequence[str], settings: Settings, *, changed: bool):
        self._pictures, self._settings = pictures, settings
        self.transforms: Any
        options = {name: getattr(settings, name) for name in CHANGES}
        hyp = get_cfg(overrides={"task": "detect", "imgsz": settings.image_size, **options})
        super().__init__(
            img_path="",
            imgsz=settings.image_size,
            augment=changed,
            hyp=hyp,
            batch_size=settings.batch_size,
            cache="ram",  # with `check_cache_ram` below: none, and mosaics of any pictures
            data={"names": dict(enumerate(classes)), "nc": len(classes), "channels": 3},
        )
        self._mixed: Any = self.transforms
        if changed:
            self.close_mosaic(hyp)
        self._single: Any = self.transforms

    def get_img_files(self, img_path: object) -> list[str]:  # noqa: ARG002  (ultralytics' signature)
        return [str(self._pictures.root / file) for file in self._pictures.files]

    def get_labels(self) -> list[dict[str, Any]]:
        return [
            {
                "im_file": file,
                "cls": boxes[:, :1].copy(),
                "bboxes": boxes[:, 1:].copy(),
                "segments": [],
                "keypoints": None,
                "normalized": True,
                "bbox_format": "xywh",
            }
            for file, boxes in zip(self.im_files, self._pictures.boxes, strict=True)
        ]

    def check_cache_ram(self, safety_margin: float = 1.0) -> bool:  # noqa: ARG002  (ultralytics' signature)
        return False

    def __getitem__(self, key: Key) -> Any:
        epoch, number = key
        seed = np.random.SeedSequence([self._settings.seed, epoch, number]).generate_state(2)
        random.seed(int(seed[0]))
        np.random.seed(int(seed[1]))  # what ultralytics draws from
        last = self._settings.epochs - self._settings.close_mosaic
        self.transforms = self._single if epoch >= last else self._mixed
        return super().__getitem__(number)

    def load_image(self, i: int, *arguments: Any, **options: Any) -> Any:
        """Raises TrainingError for one that cannot be decoded."""
        try:
            return super().load_image(i, *arguments, **options)
        except (FileNotFoundError, ValueError) as error:  # a head that was whole, and no picture after it
            raise TrainingError(
                f"images/{self._pictures.files[i]} cannot be decoded: replace it, or take it out"
            ) from error


def order(pictures: int, plan: Plan, seed: int, first: int) -> Iterator[list[Key]]:
    """The batches from number `first` (0, 1, …) to the last: every epoch takes each picture once."""
    for epoch in range(first // plan.per_epoch, plan.epochs):
        shuffled = np.random.default_rng([seed, epoch]).permutation(pictures)
        start = first % plan.per_epoch if epoch == first // plan.per_epoch else 0
        for batch in range(start, plan.per_epoch):
            chosen = shuffled[batch * plan.batch : (batch + 1) * plan.batch]
            yield [(epoch, int(number)) for number in chosen]


def batches(samples: Samples, keys: Iterator[list[Key]], workers: int) -> Iterator[Batch]:
    """Made by other processes, if there are any, ahead of time.

    img (b, 3, size, size) uint8, RGB; cls (n, 1) and bboxes (n, 4), as shares, of all; batch_idx (n,). Raises
    TrainingError for a picture that cannot be decoded, and where a process was killed.
    """
    loader: DataLoader[Any] = DataLoader(
        samples,
        batch_sampler=_Listed(keys),
        num_workers=workers,
        collate_fn=_together,
        worker_init_fn=_quiet,
        prefetch_factor=2 if workers else None,
    )
    try:
        for batch in loader:
            yield {
                name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
                for name, value in batch.items()
            }
    except TrainingError as error:  # a worker's comes with its traceback as text
        raise TrainingError(str(error).rstrip().rpartition("TrainingError: ")[2]) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            "a process that makes batches was killed, most likely because memory ran out: lower workers, "
            "image_size or batch_size, or choose a larger instance"
        ) from error


class _Listed:
    """What DataLoader takes for a sampler of batches."""

    def __init__(self, keys: Iterator[list[Key]]):
        self.keys = keys

    def __iter__(self) -> Iterator[list[Key]]:
        return self.keys


def _together(samples: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Arrays, for those go through a pipe; tensors would need /dev/shm, of which containers have little."""
    batch: dict[str, Any] = YOLODataset.collate_fn([dict(sample) for sample in samples])
    return {
        name: value.numpy() if isinstance(value, Tensor) else value
        for name, value in batch.items()
        if name in ("img", "cls", "bboxes", "batch_idx", "im_file")
    }


def _quiet(_: int) -> None:
    """A worker is ended by the trainer alone."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
