"""Photos a second to aligned faces in a job, against insightface's own detection and cut, one by one.

One by one is what scripts for it do: SCRFD finds, norm_crop cuts, and ONNX Runtime has every core. Ours: a
photo on each core, and a second look where none is found at first. They take turns over the same photos, out
of the page cache. Needs ../shared/data: real faces and a detector.
"""

import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from training.arcface.data import aligning
from training.arcface.data.finds import Finds
from training.arcface.data.store import Decoding, open_dataset
from training.arcface.distributed import World
from training.formats.decode import photo, read_bytes
from training.formats.listing import Listing, find

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
DETECTOR = DATA / "models" / "scrfd_500m_kps.onnx"
IDENTITIES, ROUNDS = 5, 5
SIZE = (640, 480)  # of the photos, a face in the middle of each

Pass = Callable[[], int]  # gives how many faces it made


def main() -> None:
    if not DETECTOR.is_file():
        print("  ../shared/data (real faces and a detector) is not here")
        return
    with tempfile.TemporaryDirectory() as folder:
        listing = find(write(Path(folder) / "photos"), None)
        threads = len(os.sched_getaffinity(0))
        runs = (Path(folder) / f"faces-{number}" for number in count())
        finds = Path(folder) / "found before"
        align(listing, finds, Path(folder), threads)
        passes: dict[str, Pass] = {
            "insightface": one_by_one(listing),
            "ours": lambda: align(listing, next(runs), Path(folder), threads),
            "ours, resumed": lambda: align(listing, finds, Path(folder), threads),
        }
        rates: dict[str, list[float]] = {name: [] for name in passes}
        faces = {}
        for _ in range(ROUNDS):
            for name, run in passes.items():
                started = time.perf_counter()
                faces[name] = run()
                rates[name].append(len(listing) / (time.perf_counter() - started))
    print(f"  {len(listing)} JPEGs of {SIZE[0]}x{SIZE[1]}, threads={threads}, medians of {ROUNDS} rounds")
    base = statistics.median(rates["insightface"])
    for name, values in rates.items():
        rate = statistics.median(values)
        print(f"    {name:14} {rate:6,.0f} photos/s  {rate / base:5.2f} x  {faces[name]} faces")


def write(folder: Path) -> Path:
    for who in sorted((DATA / "att_faces").iterdir())[:IDENTITIES]:
        (folder / who.name).mkdir(parents=True)
        for path in who.glob("*.pgm"):
            picture = Image.new("RGB", SIZE, (90, 120, 60))
            with Image.open(path) as face:
                picture.paste(face.resize((184, 224)), (228, 128))
            picture.save(folder / who.name / f"{path.stem}.jpg", quality=95)
    return folder


def align(listing: Listing, finds: Path, scratch: Path, threads: int) -> int:
    """As a job does it; finds: what was found before, to which this adds."""
    alignment = aligning.from_channels(Path("none"), DETECTOR, lambda _digest: Finds(finds, 0, print))
    dataset, _ = open_dataset(listing, World(), Decoding(scratch, threads, alignment=alignment))
    return len(dataset.listing)


def one_by_one(listing: Listing) -> Pass:
    from insightface.model_zoo.scrfd import SCRFD  # noqa: PLC0415 - seconds to import
    from insightface.utils.face_align import norm_crop  # noqa: PLC0415

    network = SCRFD(model_file=str(DETECTOR))
    network.prepare(-1, input_size=(640, 640))

    def run() -> int:
        faces = 0
        for file in listing.files:
            picture = np.asarray(photo(read_bytes(listing.root / file)))[..., ::-1]
            _, points = network.detect(picture, max_num=1)
            if len(points):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)  # scikit-image's, at every call
                    norm_crop(picture, points[0], 112)
                faces += 1
        return faces

    return run
