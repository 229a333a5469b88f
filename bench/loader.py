"""Images a second from folders and shards to the network's input, against decoding and flipping one by one.

One by one is what training code with torchvision's transforms does for each image: open with Pillow, flip at
random, to a float tensor, normalise; here in as many threads, with Pillow and torch alone. Ours: bytes are
read and decoded in batches, mirrored and normalised as one batch. Both are fed the same files, in the same
random order, out of the page cache; they take turns, so that a busy machine slows both alike.
"""

import io
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from training.arcface.data.order import batches
from training.arcface.data.store import Decoding, Images, StreamedImages, open_dataset
from training.arcface.distributed import World
from training.arcface.learner import to_input
from training.formats.listing import Listing, find

IMAGES, BATCH, ROUNDS = 1024, 128, 9
RATIO_LIMIT = 2.0
KINDS = {"4:4:4": 0, "4:2:0": 2}  # how colours are kept: at every pixel, or at every fourth
CPU = torch.device("cpu")

Pass = Callable[[], int]


def main() -> None:
    before = torch.get_num_threads()
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        torch.set_num_threads(threads)
        for kind, subsampling in KINDS.items():
            with tempfile.TemporaryDirectory() as folder:
                measure(Path(folder), kind, subsampling, threads)
    torch.set_num_threads(before)


def measure(folder: Path, kind: str, subsampling: int, threads: int) -> None:
    size = write(folder, subsampling)
    folders, shards = find(folder / "folders", None), find(folder / "shards", None)
    with reference(folders, threads) as one_by_one, tempfile.TemporaryDirectory() as scratch:
        cached = open_dataset(shards, World(), Decoding(Path(scratch), threads))[0].images
        passes = {
            "one by one": one_by_one,
            "ours, folders": batched(StreamedImages(folders, threads, 0.1)),
            "ours, shards": batched(StreamedImages(shards, threads, 0.1)),
            "ours, decoded before": batched(cached),
        }
        rates = alternately(passes)
    print(f"  JPEG {kind}, {size / 1024:.1f} KB, threads={threads}, medians of {ROUNDS} rounds of {IMAGES}")
    for name, rate in rates.items():
        ratio = rate / rates["one by one"]
        limit = f" (limit {RATIO_LIMIT:g})" if name in ("ours, folders", "ours, shards") else ""
        print(f"    {name:21} {rate:8,.0f} images/s  {ratio:6.2f} x{limit}")


def alternately(passes: dict[str, Pass]) -> dict[str, float]:
    """Images a second: the median of `ROUNDS` rounds in which each takes its turn, after one to warm up."""
    rates: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(ROUNDS + 1):
        for name, run in passes.items():
            started = time.perf_counter()
            images = run()
            if number:
                rates[name].append(images / (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in rates.items()}


# -- Ours --------------------------------------------------------------------------------------------------


def batched(images: Images) -> Pass:
    """An epoch as the training loop takes it."""

    def run() -> int:
        for _, indices, flips in batches(IMAGES, BATCH, 0, 0, IMAGES // BATCH):
            to_input(images.take(indices)[0], CPU, flips)
        return IMAGES // BATCH * BATCH

    return run


# -- One by one --------------------------------------------------------------------------------------------


@contextmanager
def reference(listing: Listing, threads: int) -> Iterator[Pass]:
    """Threads, for Pillow decodes without holding Python's lock; processes would have to send the pixels."""
    paths = [listing.root / file for file in listing.files]
    with ThreadPoolExecutor(threads) as pool:

        def run() -> int:
            for _, indices, flips in batches(IMAGES, BATCH, 0, 0, IMAGES // BATCH):
                chosen = [(paths[index], bool(flip)) for index, flip in zip(indices, flips, strict=True)]
                torch.stack(list(pool.map(sample, chosen)))
            return IMAGES // BATCH * BATCH

        yield run


def sample(chosen: tuple[Path, bool]) -> Tensor:
    """decode → flip → tensor → normalise: float (3, 112, 112)."""
    path, flip = chosen
    with Image.open(path) as file:
        image = file.convert("RGB")
    if flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
    half = torch.full((3, 1, 1), 0.5)
    return tensor.clone().sub_(half).div_(half)


# -- Data --------------------------------------------------------------------------------------------------


def write(folder: Path, subsampling: int) -> float:
    """The same images as folders of 16 identities and as four shards; the mean size of an image."""
    total = 0
    for number in range(4):
        (folder / "shards").mkdir(exist_ok=True)
        with tarfile.open(folder / "shards" / f"{number}.tar", "w") as archive:
            for index in range(number, IMAGES, 4):
                data, who = encoded(index, subsampling), f"{index % 16:02}"
                path = folder / "folders" / who / f"{index}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                add(archive, f"{index}.jpg", data)
                add(archive, f"{index}.cls", who.encode())
                total += len(data)
    return total / IMAGES


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(data)
    archive.addfile(header, io.BytesIO(data))


def encoded(seed: int, subsampling: int) -> bytes:
    """A JPEG of quality 95 that is as hard to decode as a face: smooth shapes under a little noise."""
    memory = io.BytesIO()
    Image.fromarray(drawn(seed)).save(memory, "JPEG", quality=95, subsampling=subsampling)
    return memory.getvalue()


def drawn(seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 216, (8, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((112, 112), Image.Resampling.BICUBIC), dtype=np.float32)
    return (smooth + rng.normal(0, 6, (112, 112, 1))).clip(0, 255).astype(np.uint8)
