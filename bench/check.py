"""Checks a dataset of 20,000 JPEG, beside decoding them alone; then looks for copies among a million images.

Files are in the page cache. The million are no files: their digests and hashes are drawn at random, and all
but one in a thousand differ, as photographs do.
"""

import io
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from facetrain.datasets.check.copies import Images, Runs
from facetrain.datasets.check.looks import proposals
from facetrain.datasets.check.report import check
from facetrain.datasets.check.scan import Scanned
from facetrain.datasets.check.sources import Part
from training.formats.decode import decode
from training.formats.listing import Listing
from training.formats.places import FileReader

IDENTITIES, EACH = 1000, 20
MILLION = 1_000_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder))
        begun = time.perf_counter()
        for file in files:
            decode(file.read_bytes())
        alone = len(files) / (time.perf_counter() - begun)
        begun = time.perf_counter()
        report = check(Path(folder), Silent())
        whole = len(files) / (time.perf_counter() - begun)
    assert (report["images"], report["unreadable"], report["duplicates"]) == (len(files), 0, 0)
    print(f"read and decode, one thread  {alone:8,.0f} images/s")
    print(f"check, {len(os.sched_getaffinity(0))} processors         {whole:8,.0f} images/s")
    compare(MILLION)


def write(folder: Path) -> list[Path]:
    """Soft patches with noise: as large as faces are in JPEG of quality 95."""
    rng = np.random.default_rng(0)
    files = [folder / f"{who:04}" / f"{number}.jpg" for who in range(IDENTITIES) for number in range(EACH)]
    for file in files:
        patches = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
        pixels = np.asarray(patches.resize((112, 112), Image.Resampling.BICUBIC)).astype(np.int64)
        memory = io.BytesIO()
        noisy = (pixels + rng.integers(-4, 5, pixels.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(memory, "JPEG", quality=95)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(memory.getvalue())
    return files


def compare(count: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(0, count // 20, count))
    files = tuple(f"{label:06}/{number:07}.jpg" for number, label in enumerate(labels.tolist()))
    names = tuple(f"{number:06}" for number in range(count // 20))
    listing = Listing(Path("none"), files, labels, names)
    seen = Scanned.empty(count)
    seen.width[:], seen.height[:] = 112, 112
    seen.digest[:] = rng.integers(0, 2**63, (count, 2), dtype=np.uint64)
    seen.look[:] = rng.integers(0, 2**63, (count, 2), dtype=np.uint64)
    seen.digest[::1000] = seen.digest[1::1000]
    begun = time.perf_counter()
    images = Images.of([Part("images", files, FileReader(Path("none"), files), listing)], [seen])
    copies = Runs.of(images, images.part == 0).copies()
    proposals(images.look)
    seconds = time.perf_counter() - begun
    assert copies == count // 1000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"copies among {count:,}      {seconds:8.1f} s, {peak:,.0f} MB at the most, names included")


class Silent:
    def start(self, images: int) -> None: ...

    def advance(self, images: int) -> None: ...

    def stage(self, name: str) -> None: ...
