"""The pairs that the model found hardest, as small pictures inside the page."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.arcface.report.facts import SetScores

PAIRS = 8  # of each kind
PAIRS_OF_MANY = 4  # where there are more than two sets
QUALITY = 82


@dataclass(frozen=True)
class Pair:
    """Two faces as data URIs, and how alike the model finds them."""

    left: str
    right: str
    score: float
    wrong: bool  # decided wrongly at the set's threshold


def hardest(scored: SetScores, threshold: float, count: int = PAIRS) -> tuple[list[Pair], list[Pair]]:
    """Two people who look most alike to the model, and one person who looks least like themselves."""
    alike = np.argsort(-scored.impostor, kind="stable")[:count]
    unlike = np.argsort(scored.genuine, kind="stable")[:count]
    wrong = scored.impostor > threshold, scored.genuine <= threshold
    return (
        _readable(_pair(scored, scored.impostor_pairs[i], scored.impostor[i], wrong[0][i]) for i in alike),
        _readable(_pair(scored, scored.genuine_pairs[i], scored.genuine[i], wrong[1][i]) for i in unlike),
    )


def _readable(pairs: Iterable[Pair | None]) -> list[Pair]:
    return [pair for pair in pairs if pair]


def _pair(scored: SetScores, indices: NDArray[Any], score: float, wrong: bool) -> Pair | None:
    """None where a picture of it could not be read and another stood in for it."""
    pixels, taken = scored.images.take(np.asarray(indices, dtype=np.int64))
    if not np.array_equal(taken, indices):
        return None
    return Pair(_data_uri(pixels[0]), _data_uri(pixels[1]), float(score), bool(wrong))


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
