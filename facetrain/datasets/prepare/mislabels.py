"""Faces that look more like another person's than like the rest of their own."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetrain.datasets.prepare.journal import Row
from facetrain.datasets.prepare.network import refusing, session
from facetrain.datasets.prepare.suspects import Suspect
from training.formats.decode import SIZE, decode, read_bytes
from training.formats.errors import UnreadableError

LEAST = 3  # faces of a person: of two, neither is more likely to be the wrong one
_BATCH, _BLOCK = 32, 4096

Embeddings = NDArray[np.float32]  # (faces, dimensions), of length 1


class Recogniser:
    """A recognition network in ONNX: ours, or InsightFace's, told apart by insightface."""

    def __init__(self, path: Path):
        """Raises InputError where the file is no network of 112x112 faces."""
        from insightface.model_zoo.arcface_onnx import ArcFaceONNX  # noqa: PLC0415 - a second to import

        with refusing("--model", path, "embeds no 112x112 faces"):
            self._network: Any = ArcFaceONNX(model_file=str(path), session=session(path, threads=0))
            self._batch = 1 if isinstance(self._network.input_shape[0], int) else _BATCH
            self._embed(np.zeros((1, SIZE, SIZE, 3), np.uint8))

    def embed(self, destination: Path, faces: Sequence[str], done: Callable[[int, int], None]) -> Embeddings:
        """Of each face; zeros for one that somebody took away."""
        found = []
        for start in range(0, len(faces), self._batch):
            part = faces[start : start + self._batch]
            pixels = np.zeros((len(part), SIZE, SIZE, 3), np.uint8)
            for place, face in enumerate(part):
                try:
                    pixels[place] = decode(read_bytes(destination / face))[0]
                except UnreadableError:
                    continue
            found.append(self._embed(pixels))
            done(start + len(part), len(faces))
        return np.concatenate(found)

    def _embed(self, pixels: NDArray[np.uint8]) -> Embeddings:
        raw = np.asarray(self._network.get_feat([face[..., ::-1] for face in pixels]), np.float32)
        return _unit(raw.reshape(len(pixels), -1))


def mislabels(rows: Sequence[Row], identities: Sequence[str], embeddings: Embeddings) -> list[Suspect]:
    """The worst first: by how much nearer another person's mean is than the mean of one's other faces.

    rows: kept ones; identities, embeddings: theirs. Who has fewer than three faces is only compared with.
    """
    people, labels = np.unique(identities, return_inverse=True)
    sums = np.zeros((len(people), embeddings.shape[1]), np.float32)
    np.add.at(sums, labels, embeddings)
    found = sorted(_nearer(embeddings, labels, sums), key=lambda one: one[2] - one[3])
    return [
        Suspect(
            rows[place].file,
            "mislabel",
            str(people[other]),
            f"cosine {theirs:.2f} to that identity and {own:.2f} to its own",
        )
        for place, other, own, theirs in found
    ]


def _nearer(
    embeddings: Embeddings, labels: NDArray[np.int64], sums: Embeddings
) -> Iterator[tuple[int, int, float, float]]:
    """Face, the other person, cosine to the rest of one's own, cosine to the other."""
    counts, centres = np.bincount(labels), _unit(sums)
    for start in range(0, len(embeddings), _BLOCK):
        part, mine = embeddings[start : start + _BLOCK], labels[start : start + _BLOCK]
        own = (part * _unit(sums[mine] - part)).sum(1)
        cosines = part @ centres.T
        cosines[np.arange(len(part)), mine] = -1
        other = cosines.argmax(1)
        theirs = cosines.max(1)
        for place in np.flatnonzero((theirs > own) & (counts[mine] >= LEAST)):
            yield start + int(place), int(other[place]), float(own[place]), float(theirs[place])


def _unit(vectors: Embeddings) -> Embeddings:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Embeddings = vectors / np.maximum(lengths, 1e-12)
    return unit
