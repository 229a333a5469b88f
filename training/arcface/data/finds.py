"""What the detector found in each photo, kept beside the checkpoints: a resumed run does not look again.

    checkpoints/
      faces-3f2a9c014b7d/      of one detector
        rank-0-000000.jsonl    4,096 photos, by a digest of their bytes: nobody is named
        rank-0-000001.jsonl    each file is written once, whole

So the pixels are the same on another kind of machine too, whose last bits may differ in a network.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from training.container.aside import written_aside
from training.formats.detector import Detector
from training.formats.faces import Cut, UnusableError, cut
from training.formats.landmarks import Face

PHOTOS = 4096  # a file: few enough to be lost when a process is killed
_Found = bytes | tuple[str, str]  # five points, float64; or why there is no face: reason and detail


class Finds:
    """For one rank. All ranks read what is there; those of the first host write, for they see every photo."""

    def __init__(self, folder: Path, rank: int, tell: Callable[[str], None], *, writes: bool = True):
        self.folder, self.rank, self.tell, self.writes = folder, rank, tell, writes
        self.known: dict[bytes, _Found] = {}
        for path in sorted(folder.glob("*.jsonl")):
            self._read(path)
        self.number = len(list(folder.glob(f"rank-{rank}-*.jsonl")))
        self.new: list[dict[str, Any]] = []
        self.lock = Lock()

    def cut(self, data: bytes, detector: Detector) -> Cut:
        """As training.formats.faces.cut does it, from any thread."""
        key = hashlib.blake2b(data, digest_size=16).digest()
        known = self.known.get(key)
        if isinstance(known, tuple):
            raise UnusableError(*known)
        if known is not None:
            return cut(data, Face(np.frombuffer(known).reshape(5, 2)), None)
        try:
            found = cut(data, None, detector)
        except UnusableError as error:
            self._add({"photo": key.hex(), "reason": error.reason, "detail": str(error)})
            raise
        assert found.points is not None
        self._add({"photo": key.hex(), "points": found.points.ravel().tolist()})
        return found

    def keep(self) -> None:
        """Writes down what is new. Where that fails it is told, and the run goes on without."""
        with self.lock:
            self._write()

    def _add(self, row: dict[str, Any]) -> None:
        if not self.writes:
            return
        with self.lock:
            self.new.append(row)
            if len(self.new) >= PHOTOS:
                self._write()

    def _write(self) -> None:
        if not self.new:
            return
        rows, self.new = self.new, []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with written_aside(self.folder / f"rank-{self.rank}-{self.number:06}.jsonl") as path:
                path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        except OSError as error:
            self.writes = False
            self.tell(
                f"{self.folder}: what the detector finds is not kept ({error.strerror}): a resumed run looks "
                "again"
            )
        self.number += 1

    def _read(self, path: Path) -> None:
        try:
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            self.known |= {bytes.fromhex(row["photo"]): _found(row) for row in rows}
        except (OSError, ValueError, KeyError, TypeError):
            self.tell(f"{path} is damaged: its photos are looked at again")


def _found(row: dict[str, Any]) -> _Found:
    if "points" not in row:
        return str(row["reason"]), str(row["detail"])
    points = np.array(row["points"], dtype=np.float64)
    if points.shape != (10,):
        raise ValueError("not five points")
    return points.tobytes()
