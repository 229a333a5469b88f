"""All images of a channel, the unreadable ones left out."""

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.arcface.examples import picture, write_pictures
from training.arcface.data.store import Decoding, StreamedImages, open_dataset
from training.arcface.distributed import World
from training.container.errors import StoppedError, TrainingError
from training.formats.listing import find


def test_unreadable_files_are_skipped_counted_and_named(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "images", 3, 4)
    (images / "1" / "2.png").write_bytes(b"")
    dataset, report = open_dataset(find(images, None), World(), Decoding(tmp_path))
    assert len(dataset.listing) == 11
    assert "1/2.png" not in dataset.listing.files
    assert list(report.lines("images")) == [
        "decoded channel=images images=12 resized=0 unreadable=1",
        "unreadable images/1/2.png is empty",
    ]


def test_every_unreadable_file_is_listed_with_its_reason(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "images", 2, 3)
    (images / "1" / "2.png").write_bytes(b"")
    (images / "0" / "ü, 0.png").write_bytes(b"x")
    decoding = Decoding(tmp_path, listed_in=tmp_path / "data")
    for channel in ("images", "validation", "images"):  # again, as after a restart
        with pytest.raises(TrainingError):
            open_dataset(find(images, None), World(), decoding, channel)
    rows = list(csv.reader((tmp_path / "data" / "unreadable.csv").open(encoding="utf-8")))
    assert [row[:2] for row in rows] == [
        ["channel", "file"],
        ["validation", "0/ü, 0.png"],
        ["validation", "1/2.png"],
        ["images", "0/ü, 0.png"],
        ["images", "1/2.png"],
    ]
    assert rows[4][2] == "is empty"


def test_where_all_can_be_read_no_table_is_written(tmp_path: Path) -> None:
    listing = find(write_pictures(tmp_path / "images", 2, 1), None)
    open_dataset(listing, World(), Decoding(tmp_path, listed_in=tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_pixels_stay_with_their_file_after_a_file_is_skipped(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "images", 3, 2)
    (images / "0" / "1.png").write_bytes(b"")
    dataset, _ = open_dataset(find(images, None), World(), Decoding(tmp_path, max_unreadable=0.5))
    pixels, taken = dataset.images.take(np.array([3, 1]))
    assert [dataset.listing.files[index] for index in taken] == ["2/0.png", "1/0.png"]
    assert (pixels[0] == picture(2, 0)).all()
    assert (pixels[1] == picture(1, 0)).all()


def test_too_many_unreadable_files_are_refused_by_name(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "images", 2, 3)
    (images / "0" / "0.png").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"1 of 6 images cannot be read, .*0/0.png is empty"):
        open_dataset(find(images, None), World(), Decoding(tmp_path))


def test_an_identity_whose_only_image_is_unreadable_is_gone(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "images", 3, 1)
    (images / "1" / "0.png").write_bytes(b"")
    dataset, _ = open_dataset(find(images, None), World(), Decoding(tmp_path, max_unreadable=0.5))
    assert dataset.listing.identities == ("0", "2")
    assert dataset.listing.labels.tolist() == [0, 1]


def test_nothing_stays_in_the_scratch_folder(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    listing = find(write_pictures(tmp_path / "images", 2, 2), None)
    open_dataset(listing, World(), Decoding(tmp_path / "scratch"))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_images_that_do_not_fit_are_decoded_when_asked_with_the_same_result(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "images", 2, 3)
    (images / "0" / "1.png").write_bytes(b"")
    dataset, _ = open_dataset(find(images, None), World(), Decoding(tmp_path, cache_bytes=1))
    assert isinstance(dataset.images, StreamedImages)
    pixels, taken = dataset.images.take(np.array([5, 1]))
    assert taken.tolist() == [5, 2]  # the one after the unreadable, with its own label
    assert (pixels[0] == picture(1, 2)).all()
    assert (pixels[1] == picture(0, 2)).all()


def test_the_log_hears_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.arcface.data.store.TOLD_SECONDS", -1.0)
    log: list[str] = []
    listing = find(write_pictures(tmp_path / "images", 2, 10), None)
    open_dataset(listing, World(), Decoding(tmp_path, workers=1, tell=log.append))
    assert log == ["decoding channel=images images=16/20", "decoding channel=images images=20/20"]


def test_decoding_stops_when_told_to(tmp_path: Path) -> None:
    def told() -> None:
        raise StoppedError("now")

    listing = find(write_pictures(tmp_path / "images", 2, 2), None)
    with pytest.raises(StoppedError):
        open_dataset(listing, World(), Decoding(tmp_path, check_stop=told))
