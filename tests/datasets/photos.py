"""Photos to prepare, with a table of landmarks: what becomes of each is seen without a detector."""

from pathlib import Path

import numpy as np
from PIL import Image

from facetrain.datasets.prepare.command import Prepared, Wanted, prepare
from facetrain.datasets.prepare.journal import FOLDER, NAME
from training.formats.alignment import TEMPLATE, Points

POINTS = TEMPLATE * 1.5 + 20
HEADER = "file,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5"


def picture(seed: int = 0, size: tuple[int, int] = (220, 200)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


class Album:
    """SRC, DEST and a table of landmarks in one folder."""

    def __init__(self, folder: Path):
        self.source, self.destination, self.table = folder / "in", folder / "out", folder / "landmarks.csv"
        self.source.mkdir()
        self.table.write_text(HEADER + "\n")

    def add(
        self, file: str, image: Image.Image | bytes | None = None, points: Points | None = POINTS
    ) -> Path:
        """A photo and, but for points None, its landmarks."""
        path = self.source / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            (image or picture()).save(path)
        if points is not None:
            numbers = ",".join(str(value) for value in points.ravel())
            with self.table.open("a") as table:
                table.write(f'"{file}",{numbers}\n')
        return path

    def prepare(self, **options: object) -> Prepared:
        wanted = {"landmarks": self.table, "processes": 1, **options}
        return prepare(Wanted(self.source, self.destination, **wanted))  # type: ignore[arg-type]

    def faces(self) -> list[str]:
        """Without what is hidden, as a face that is being written is."""
        files = [path.relative_to(self.destination) for path in self.destination.rglob("*") if path.is_file()]
        seen = [file for file in files if not any(part.startswith(".") for part in file.parts)]
        return sorted(file.as_posix() for file in seen)

    @property
    def journal(self) -> Path:
        return self.destination / FOLDER / NAME
