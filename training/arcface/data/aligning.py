"""Photos of any size to aligned faces, by the landmarks or the face detector that a job brings."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.arcface.data.finds import Finds
from training.container.errors import TrainingError
from training.container.unreadable import TABLE_NAME, write_table
from training.formats.decode import Pixels
from training.formats.detector import Detector
from training.formats.errors import DataError, UnreadableError
from training.formats.faces import Cut, UnusableError, cut
from training.formats.labels import TABLE_SUFFIXES
from training.formats.landmarks import Landmarks, read_landmarks
from training.formats.listing import Listing, only_table

CHANNEL = "landmarks"
_SUFFIXES = (*TABLE_SUFFIXES, ".lst")
_ERRORS = 3  # what ONNX Runtime says below that is for its developers


class UnalignedError(UnreadableError):
    """A photo that can be read and gives no face."""


@dataclass(frozen=True)
class Aligned:
    """By what photos became faces. by: for people; mark: changes with what the faces' pixels depend on."""

    by: str
    mark: str


@dataclass(frozen=True)
class Alignment:
    """How photos become faces: one of the two tells where a face is. Large: let it go once they are faces."""

    aligned: Aligned
    landmarks: Landmarks | None = None
    detector: Detector | None = None
    finds: Finds | None = None  # of the detector

    def face(self, file: str, data: bytes) -> Pixels:
        """The face of an image. Raises UnreadableError, and of that UnalignedError; from any thread."""
        try:
            return np.asarray(self._cut(file, data).face)
        except UnusableError as error:
            raise UnalignedError(f"cannot be aligned: {error}") from None

    def _cut(self, file: str, data: bytes) -> Cut:
        if self.detector and self.finds:
            return self.finds.cut(data, self.detector)
        name = self.landmarks.name_of(file) if self.landmarks else None
        return cut(data, self.landmarks.faces[name] if self.landmarks and name is not None else None, None)

    def keep(self) -> None:
        """Writes down what the detector found."""
        if self.finds:
            self.finds.keep()

    def knows(self, files: Sequence[str]) -> bool:
        """Whether it can tell where the face is in any of these."""
        return self.landmarks is None or any(self.landmarks.name_of(file) for file in files)


def of_channel(
    alignment: Alignment | None, listing: Listing, channel: str, log: Callable[[str], None]
) -> Alignment | None:
    """The same but for images to verify on of which the table names none: those are aligned faces."""
    if alignment is None or channel == "images" or alignment.knows(listing.files):
        return alignment
    log(f"channels.{channel}: no image has landmarks: they are taken as aligned faces")
    return None


def tell_unused(
    alignment: Alignment, photos: Sequence[str], folder: Path, log: Callable[[str], None]
) -> None:
    """Counts and lists the lines of the table whose photos are not there; nobody is named in the log."""
    if alignment.landmarks and (unused := alignment.landmarks.missing(photos)):
        write_table(folder, CHANNEL, [(name, "has landmarks and is not there") for name in unused])
        log(f"landmarks_without_image={len(unused)}: listed in output/data/{TABLE_NAME}")


def from_channels(landmarks: Path, detector: Path | None, finds: Callable[[str], Finds]) -> Alignment | None:
    """How a job's faces are aligned; None where its images are aligned faces.

    landmarks: the channel's folder; detector: a file of the weights channel; finds: opens what a detector of
    this digest has found. Raises TrainingError.
    """
    table = _table_in(landmarks)
    if table and detector:
        raise TrainingError(
            f"detector: faces are aligned by it or by the landmarks channel, and the job has both: leave out "
            f"{detector.name} or the channel"
        )
    try:
        if table:
            return Alignment(Aligned("landmarks", f"landmarks {_digest(table)}"), read_landmarks(table))
        if detector:
            digest = _digest(detector)
            network = Detector(detector, _session)
            return Alignment(Aligned("detector", f"detector {digest}"), None, network, finds(digest))
    except DataError as error:
        name = CHANNEL if table else "weights"
        raise TrainingError(f"channels.{name}: {error}") from None
    return None


def _table_in(channel: Path) -> Path | None:
    if not channel.exists():
        return None
    return channel if channel.is_file() else only_table(channel, CHANNEL, _SUFFIXES, "file,x1,y1, … x5,y5")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _session(path: Path) -> Any:
    import onnxruntime  # noqa: PLC0415  (half a second, and most jobs bring aligned faces)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = _ERRORS
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
