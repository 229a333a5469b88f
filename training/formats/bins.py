"""InsightFace's verification sets: a pickle of (images, issame), images 2i and 2i + 1 being pair i.

Images are the bytes of JPEG or PNG files, or uint8 arrays of the same bytes, (n,) or (n, 1), as OpenCV's
imencode gives them: what insightface's own tools write, and its readers decode to RGB. Arrays of pixels,
(h, w, 3), which none of them writes, are taken as RGB.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.formats.decode import Pixels, decode
from training.formats.errors import DataError, UnreadableError
from training.formats.unpickling import load

SUFFIX = ".bin"

Indices = NDArray[np.int64]


def read_bin(path: Path | str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Every image, (n, 112, 112, 3) RGB, and which pairs are of one person, (n / 2,).

    Raises DataError where the file is no such set, asks for anything but data, or an image cannot be
    read. All images at once take 38 kB each: a set that is only evaluated is decoded batch by batch.
    """
    path = Path(path)
    encoded, same = read_encoded(path, path.name)
    images = BinImages(encoded, path.name, len(os.sched_getaffinity(0)))
    return images.take(np.arange(len(encoded)))[0], same


def read_encoded(path: Path, place: str) -> tuple[list[Any], NDArray[np.bool_]]:
    """The images as the file has them, and which pairs are of one person. Raises DataError."""
    try:
        value = load(path, place)
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror}") from None
    parts = value if isinstance(value, list) else ()
    if len(parts) != 2 or not all(isinstance(part, list | np.ndarray) for part in parts):
        raise DataError(f"{place} does not hold (images, issame): it is no verification set")
    images, answers = list(parts[0]), _answers(parts[1], place)
    if len(images) != 2 * len(answers) or not images:
        raise DataError(
            f"{place} holds {len(images)} images and {len(answers)} answers, where each answer needs two "
            f"images: it was written wrongly, make it anew"
        )
    return images, answers


def _answers(values: Any, place: str) -> NDArray[np.bool_]:
    """Raises DataError where an answer is not True, False, 1 or 0."""
    flat = list(values.ravel()) if isinstance(values, np.ndarray) else values
    if any(not isinstance(value, int | np.integer | np.bool_) or value not in (0, 1) for value in flat):
        raise DataError(f"{place}: its second part, issame, must hold True or False for each pair")
    return np.array(flat, dtype=bool)


class BinImages:
    """Images of a .bin, decoded when asked for: they stay as small as the file has them."""

    def __init__(self, encoded: Sequence[Any], place: str, threads: int = 1):
        self.encoded, self.place, self.threads = encoded, place, threads
        self.pool = ThreadPoolExecutor(threads)

    def take(self, indices: Indices) -> tuple[NDArray[np.uint8], Indices]:
        """Raises DataError where one cannot be read."""
        return np.stack(list(self.pool.map(self._pixels, indices.tolist()))), indices

    def keep(self, chosen: NDArray[np.bool_]) -> "BinImages":
        return BinImages(
            [self.encoded[int(index)] for index in np.flatnonzero(chosen)], self.place, self.threads
        )

    def _pixels(self, index: int) -> Pixels:
        try:
            return pixels_of(self.encoded[index])
        except UnreadableError as error:
            raise DataError(
                f"{self.place}: image {index + 1} of {len(self.encoded)} {error}: copy the file once more, "
                f"or make it anew"
            ) from None


def key(item: Any) -> bytes:
    """The same for two items that are the same image."""
    if isinstance(item, np.ndarray):
        item = f"{item.shape} {item.dtype} ".encode() + item.tobytes()
    return hashlib.blake2b(item if isinstance(item, bytes | bytearray) else repr(item).encode()).digest()


def pixels_of(item: Any) -> Pixels:
    """(112, 112, 3) RGB of one item. Raises UnreadableError."""
    return decode(file_of(item))[0]


def file_of(item: Any) -> bytes:
    """One item as an image file: its own bytes, or PGM or PPM of bare pixels. Raises UnreadableError."""
    if isinstance(item, bytes | bytearray):
        return bytes(item)
    if not isinstance(item, np.ndarray) or item.dtype != np.uint8:
        raise UnreadableError("is neither bytes nor an array of uint8")
    if item.ndim == 1 or (item.ndim == 2 and 1 in item.shape):
        return item.tobytes()
    if item.ndim not in (2, 3) or (item.ndim == 3 and item.shape[2] != 3) or 0 in item.shape:
        raise UnreadableError(f"is an array of {item.shape}, not of (height, width, 3)")
    kind = 5 if item.ndim == 2 else 6  # PGM or PPM, which hold bare pixels
    height, width = item.shape[:2]
    return b"P%d %d %d 255\n" % (kind, width, height) + item.tobytes()
