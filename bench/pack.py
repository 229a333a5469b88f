"""Packs a million images into shards: memory, speed, and one order however they are read back.

Images are of 120 bytes, so that what is measured is the cost of an image's name and not of its pixels; peak
memory is that of the command's own process, as the system counts it. Readers are processes that list the
shards and read each step's images as the trainer's ranks do; an interrupted reading is taken up by as many
others at a step in the middle.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.arcface.data.order import batches
from training.arcface.distributed import World
from training.formats.listing import find

IMAGES, IDENTITIES, BATCH, SEED = 1_000_000, 10_000, 1000, 7
SHARD_MB = 128
# The command itself says its peak: wait4 would count what this process had when it forked, too.
_COMMAND = """
import sys
from pathlib import Path
from facetrain.cli.entry import run
code = run(sys.argv[1:])
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
sys.exit(code)
"""

Digests = NDArray[np.uint64]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        photos, packed = Path(folder, "photos"), Path(folder, "packed")
        write(photos, IMAGES, IDENTITIES)
        summary = pack(photos, packed)
        digest = in_order(packed)
        for readers in (2, 4):
            check(f"{readers} readers", in_order(packed, readers), digest)
        middle = IMAGES // BATCH // 2 + 1
        first = in_order(packed, 4, last=middle)
        check("4 readers, interrupted, then 2", np.concatenate([first, in_order(packed, 2, middle)]), digest)
        assert len(np.unique(digest)) == summary["images"] == IMAGES


def write(folder: Path, images: int, identities: int) -> None:
    """Unlike each other, and alike on every machine."""
    for who in range(identities):
        (folder / f"person-{who:05}").mkdir(parents=True)
    for number in range(images):
        who = number % identities
        path = folder / f"person-{who:05}" / f"{number // identities:05}.gif"
        path.write_bytes(b"GIF89a" + number.to_bytes(4, "big") + bytes(110))


def pack(source: Path, destination: Path) -> dict[str, int]:
    """Runs the command as a user would, and prints its time and the peak of its memory."""
    started = time.perf_counter()
    arguments = ["dataset", "pack", str(source), str(destination), f"--shard-mb={SHARD_MB}", "--json"]
    command = [sys.executable, "-c", _COMMAND, *arguments]
    output, _, peak = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.rpartition("VmHWM:")
    seconds = time.perf_counter() - started
    summary: dict[str, int] = json.loads(output)
    print(
        f"  {source.name} to {summary['shards']} shards: {summary['images']:,} images in {seconds:.0f} s "
        f"({summary['images'] / seconds:,.0f}/s), peak memory {int(peak.split()[0]) / 1024:,.0f} MiB"
    )
    return summary


def in_order(folder: Path, readers: int = 1, first: int = 0, last: int | None = None) -> Digests:
    """A digest of each image, in the order in which steps first … last - 1 have them. Prints the time."""
    started = time.perf_counter()
    with ProcessPoolExecutor(readers, get_context("spawn")) as pool:
        parts = [pool.submit(read, folder, rank, readers, first, last) for rank in range(readers)]
        digests = np.concatenate([part.result() for part in parts], axis=1).ravel()
    print(f"  {len(digests):,} images read by {readers} in {time.perf_counter() - started:.0f} s")
    return digests


def read(folder: Path, rank: int, ranks: int, first: int, last: int | None) -> Digests:
    """What one rank reads of an epoch, (steps, its share of a batch)."""
    found = find(folder, None)
    reader = found.reader()
    mine = slice(*World(rank, ranks).shard(BATCH))
    steps = batches(len(found), BATCH, SEED, first, last or len(found) // BATCH)
    return np.array(
        [[_digest(reader.read(image)) for image in indices[mine].tolist()] for _, indices, _ in steps],
        dtype=np.uint64,
    )


def check(how: str, digests: Digests, expected: Digests) -> None:
    assert np.array_equal(digests, expected), f"another order by {how}"
    print(f"  the same order by {how}")


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


if __name__ == "__main__":
    main()
