"""Which images of a step are changed, how, and in what order: by seed and step, so that a run can resume.

The order is a photograph's own: a mask is worn in the scene, then come the framing, the lens, the sensor, the
processing and the file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.arcface.augment.colour import Colour
from training.arcface.augment.jpeg import Jpeg
from training.arcface.augment.masks import Masks
from training.arcface.augment.resample import Blur, Crop, LowRes
from training.arcface.data.order import CHANGES, generator
from training.arcface.settings import Settings

# uint8 (k, 112, 112, 3) on the device and draws in [0, 1), (k, DRAWS), to changed images of the same kind.
Change = Callable[[Tensor, NDArray[np.float64]], Tensor]
DRAWS = 6  # at most, of one change for one image
MAKERS: Mapping[str, Callable[[torch.device], Change]] = {
    "mask": Masks,
    "crop": Crop,
    "blur": Blur,
    "low_res": LowRes,
    "colour": Colour,
    "jpeg": Jpeg,
}
ORDER = tuple(MAKERS)


@dataclass(frozen=True)
class Drawn:
    """What some images of a step are to meet: `chosen` (n,) bool and draws (n, DRAWS) for each change."""

    changes: Mapping[str, Change]
    draws: Mapping[str, tuple[NDArray[np.bool_], NDArray[np.float64]]]

    def __getitem__(self, rows: slice) -> "Drawn":
        cut = {name: (chosen[rows], draws[rows]) for name, (chosen, draws) in self.draws.items()}
        return Drawn(self.changes, cut)

    def apply(self, images: Tensor) -> Tensor:
        """uint8 (n, 112, 112, 3), which is left as it is, to the same with the chosen ones changed."""
        for name, (chosen, draws) in self.draws.items():
            if chosen.any():
                rows = torch.from_numpy(np.flatnonzero(chosen)).to(images.device)
                images = images.index_copy(0, rows, self.changes[name](images[rows], draws[chosen]))
        return images


class Augmenter:
    """Draws a step's changes. Those whose chance is 0 draw and cost nothing."""

    def __init__(self, settings: Settings, device: torch.device):
        self.seed = settings.seed
        self.chances = {name: getattr(settings, name) for name in ORDER if getattr(settings, name)}
        self.changes = {name: MAKERS[name](device) for name in self.chances}

    def draw(self, step: int, images: int) -> Drawn:
        """For the batch of all ranks together; what one change draws does not depend on the others."""
        draws = {}
        for name, chance in self.chances.items():
            own = int.from_bytes(name.encode())  # not its place, which another change may take one day
            numbers = generator(self.seed, CHANGES, step, own).random((images, 1 + DRAWS))
            draws[name] = numbers[:, 0] < chance, numbers[:, 1:]
        return Drawn(self.changes, draws)


def described(settings: Settings) -> str:
    """`flip:0.5,crop:0.2`, or `none`: for the log."""
    chances = {"flip": 0.5 if settings.flip else 0.0} | {name: getattr(settings, name) for name in ORDER}
    return ",".join(f"{name}:{chance:g}" for name, chance in chances.items() if chance) or "none"
