"""Shards and .rec files that are cut short or are none are told before hours are spent on sending them."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from facetrain.errors import InputError
from facetrain.folder import read_folder
from facetrain.packed import check_packed
from tests.formats.by_mxnet import FACES, UNSORTED, WITHOUT_INDEX, Written


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        check_packed(read_folder(folder), "images/")
    return str(caught.value)


@pytest.mark.parametrize("written", [FACES, UNSORTED, WITHOUT_INDEX])
def test_what_the_original_library_wrote_is_fine(tmp_path: Path, written: Written) -> None:
    assert check_packed(read_folder(written.put(tmp_path)), "images/") is None


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (331, "is cut short: its last record ends at byte 332 of 331"),
        (300, "is cut short: its last record ends at byte 332 of 300"),
        (200, "is cut short, or its .idx belongs to another: that points behind its end"),
        (0, "is empty"),
    ],
)
def test_a_rec_that_is_cut_short_is_refused(tmp_path: Path, size: int, said: str) -> None:
    os.truncate(FACES.put(tmp_path) / "train.rec", size)
    assert refusal(tmp_path) == f"images/train.rec: {said}: copy it again"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0\t0\n1\t44\n", "has no record at byte 44: it is no .rec, or its .idx belongs to another"),
        ("0\t0\n1\t4000\n", "is cut short, or its .idx belongs to another: that points behind its end"),
        ("0 zero\n", "its .idx is no list of keys and offsets"),
        ("0 -8\n", "its .idx is no list of keys and offsets"),
        ("0\n", "its .idx is no list of keys and offsets"),
        ("\u00e9\n", "its .idx is no list of keys and offsets"),
    ],
)
def test_an_idx_that_disagrees_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (FACES.put(tmp_path) / "train.idx").write_text(text)
    assert refusal(tmp_path) == f"images/train.rec: {said}: copy it again"


ENDLESS = "is cut short, or no tar: the end of its archive is missing: copy it again"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: bytes(1000), ENDLESS),
        (lambda: b"x" * 1024, ENDLESS),
        (lambda: gzip.compress(bytes(1024)), "is compressed, but a shard is a plain tar: unpack it first"),
        (lambda: b"", "is empty: copy it again"),
    ],
)
def test_a_shard_without_its_end_is_refused(tmp_path: Path, make: Callable[[], bytes], said: str) -> None:
    (tmp_path / "000000.tar").write_bytes(make())
    (tmp_path / "000001.tar").write_bytes(bytes(1024))
    assert refusal(tmp_path) == f"images/000000.tar: {said}"
