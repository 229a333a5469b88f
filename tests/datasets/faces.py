"""Small pictures to make datasets of, each unlike the others."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def pixels(number: int, height: int = 112, width: int = 112) -> NDArray[np.uint8]:
    """Soft patches, as photographs have them: they survive JPEG."""
    rng = np.random.default_rng(number)
    patches = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
    return np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC))


def encoded(number: int, kind: str = "PNG", size: tuple[int, int] = (112, 112), quality: int = 95) -> bytes:
    """size: height and width."""
    memory = io.BytesIO()
    image = Image.fromarray(pixels(number, *size))
    if kind == "JPEG":
        image.save(memory, kind, quality=quality)
    else:
        image.save(memory, kind)
    return memory.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def people(root: Path, counts: dict[str, int]) -> Path:
    """A folder for each name, with so many pictures: anna/0.png, anna/1.png, …"""
    number = 0
    for name, count in counts.items():
        for own in range(count):
            put(root / name / f"{own}.png", encoded(number))
            number += 1
    return root
