"""Packed datasets stream back in one order, however many read, and when taken up again."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facetrain.datasets.pack import pack
from tests.datasets.test_pack_roundtrip import write_folders
from training.arcface.data.order import batches
from training.arcface.data.store import StreamedImages
from training.arcface.distributed import World
from training.formats.listing import find

IMAGES, BATCH, SEED = 30, 4, 5
STEPS = 3 * (IMAGES // BATCH)  # three epochs


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("order")
    pack(
        write_folders(folder / "photos", [f"p{who}" for who in range(6)], 5),
        folder / "packed",
        shard_bytes=300_000,
    )
    assert len(list((folder / "packed").glob("*.tar"))) > 3
    return folder / "packed"


def streamed(packed: Path, ranks: int, first: int = 0, last: int = STEPS) -> list[bytes]:
    """Each step's pixels, put together from what its ranks read, each with a listing of its own."""
    readers = [_rank(packed, World(rank, ranks), first, last) for rank in range(ranks)]
    return [b"".join(parts) for parts in zip(*readers, strict=True)]


def _rank(packed: Path, world: World, first: int, last: int) -> Iterator[bytes]:
    images = StreamedImages(find(packed, None), workers=2, max_unreadable=0)
    mine = slice(*world.shard(BATCH))
    for _, indices, _ in batches(IMAGES, BATCH, SEED, first, last):
        yield images.take(indices[mine])[0].tobytes()


def test_every_image_comes_once_an_epoch(packed: Path) -> None:
    steps = streamed(packed, 1)
    epoch = np.frombuffer(b"".join(steps[: IMAGES // BATCH]), np.uint8).reshape(-1, 112 * 112 * 3)
    assert len(np.unique(epoch, axis=0)) == IMAGES // BATCH * BATCH
    assert steps[: IMAGES // BATCH] != steps[IMAGES // BATCH : 2 * (IMAGES // BATCH)]


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_order_is_the_same_for_any_number_of_readers(packed: Path, ranks: int) -> None:
    assert streamed(packed, ranks) == streamed(packed, 1)


@pytest.mark.parametrize("at", [1, 6, 7, 17])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 4), (4, 1)])
def test_the_order_goes_on_after_an_interruption(packed: Path, at: int, before: int, after: int) -> None:
    assert streamed(packed, before, 0, at) + streamed(packed, after, at) == streamed(packed, 1)
