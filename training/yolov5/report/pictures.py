"""The pictures that the detector got most wrong, with what was there and what it found, inside the page."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

MOST = 8
SHOWN_FROM = 0.25  # the score from which a box counts as found, as detectors are mostly used
SIDE, QUALITY = 320, 82
THERE, RIGHT, WRONG = (82, 211, 168), (143, 166, 255), (255, 110, 90)


@dataclass(frozen=True)
class Example:
    """pixels: (height, width, 3). there: (n, 4), corners. found: (m, 4); right: which of those are, (m,)."""

    pixels: NDArray[np.uint8]
    there: NDArray[Any]
    found: NDArray[Any]
    right: NDArray[np.bool_]

    @property
    def missed(self) -> int:
        return len(self.there) - int(self.right.sum())

    @property
    def wrong(self) -> int:
        return len(self.found) - int(self.right.sum())


@dataclass(frozen=True)
class Picture:
    """An example as the page shows it: a data URI, and what is to be seen in words."""

    uri: str
    caption: str


def worst(examples: list[Example]) -> list[Example]:
    """Those with most mistakes, at most MOST of them; of equals the earlier."""
    return sorted(examples, key=lambda one: -(one.missed + one.wrong))[:MOST]


def picture(example: Example) -> Picture:
    image = Image.fromarray(example.pixels)
    scale = SIDE / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    pen = ImageDraw.Draw(image)
    for box in example.there:
        pen.rectangle([float(place) * scale for place in box], outline=THERE, width=2)
    for box, right in zip(example.found, example.right, strict=True):
        pen.rectangle([float(place) * scale for place in box], outline=RIGHT if right else WRONG, width=2)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    said = f"{len(example.there)} there, {example.missed} missed, {example.wrong} found where nothing is"
    return Picture(f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}", said)
