"""Photos of any size that the job aligns itself, by a table of landmarks or a detector."""

import csv
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import distributed

from facetrain.datasets.prepare.command import Wanted, prepare
from tests.arcface import processes
from tests.arcface.examples import REAL_DATA, write_job
from tests.datasets.detectors import photo as white_box
from tests.datasets.detectors import write_detector
from training.arcface.channels import Data, load_data
from training.arcface.data.aligning import from_channels
from training.arcface.data.finds import Finds
from training.arcface.data.store import CachedImages, Decoding, open_dataset
from training.arcface.distributed import World
from training.arcface.saving import fingerprint
from training.arcface.settings import Settings
from training.container.errors import StoppedError, TrainingError
from training.container.stopping import Stop
from training.formats.alignment import TEMPLATE, Points, crop, fit
from training.formats.errors import DataError
from training.formats.listing import find
from training.jobs.contract import ContainerPaths

DETECTOR = REAL_DATA / "models" / "scrfd_500m_kps.onnx"
real_faces = pytest.mark.skipif(
    not DETECTOR.is_file(), reason="../shared/data (real faces and a detector) is not here"
)
HEADER = "file," + ",".join(f"{axis}{number}" for number in range(1, 6) for axis in "xy")
POINTS = TEMPLATE * 1.5 + 20


def photo(seed: int, size: tuple[int, int] = (220, 200)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


class Album:
    """A job's folders, with photos and their landmarks."""

    def __init__(self, base: Path):
        self.paths = write_job(base, {})
        self.table = self.paths.channel("landmarks") / "landmarks.csv"
        self.table.parent.mkdir()
        self.table.write_text(HEADER + "\n")

    def add(
        self, file: str, points: Points | None = POINTS, channel: str = "images", seed: int = 0
    ) -> Image.Image:
        """A photo and, but for points None, its landmarks."""
        path, image = self.paths.channel(channel) / file, photo(seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        if points is not None:
            with self.table.open("a") as table:
                table.write(f"{file},{','.join(map(str, points.ravel()))}\n")
        return image

    def load(self, **settings: object) -> tuple[Data, list[str]]:
        log: list[str] = []
        chosen = Settings(holdout_fraction=0, **settings)  # type: ignore[arg-type]
        return load_data(self.paths, chosen, self.paths.base, World(), stop=Stop(), log=log.append), log

    def listed(self) -> list[list[str]]:
        with (self.paths.output_data / "unreadable.csv").open() as table:
            return list(csv.reader(table))[1:]


def no_finds(digest: str) -> Finds:
    raise AssertionError(digest)


@pytest.fixture
def album(tmp_path: Path) -> Album:
    return Album(tmp_path)


def pixels(data: Data, file: str) -> np.ndarray:
    listing = data.train.listing
    found: np.ndarray = data.train.images.take(np.array([listing.files.index(file)]))[0][0]
    return found


def test_photos_are_aligned_by_their_landmarks_before_training(album: Album) -> None:
    album.add("anna/1.png", seed=1)
    large = album.add("ben/1.png", TEMPLATE * 1.2 + (60, 30), seed=2)
    data, log = album.load()
    assert isinstance(data.train.images, CachedImages)
    assert (pixels(data, "ben/1.png") == np.asarray(crop(large, fit(TEMPLATE * 1.2 + (60, 30))))).all()
    assert "aligned channel=images images=2 by=landmarks unreadable=0 without_face=0" in log


def test_a_list_may_say_whose_photos_they_are(album: Album) -> None:
    for number in range(3):
        album.add(f"{number:06}.png", seed=number)
    (album.paths.channel("images") / "labels.csv").write_text(
        "file,identity\n000000.png,anna\n000001.png,ben\n000002.png,ben\n"
    )
    data, _ = album.load()
    assert data.train.listing.counts().tolist() == [1, 2]
    assert data.aligned.startswith("landmarks ")


def test_photos_in_shards_are_aligned_too(album: Album) -> None:
    """A table names a picture in a shard by its name there."""
    for number, who in enumerate("ab"):
        album.add(f"{who}/{number}.png", seed=number)
    images = album.paths.channel("images")
    with tarfile.open(images / "000000.tar", "w") as shard:
        for number, who in enumerate("ab"):
            (images / who / f"{number}.cls").write_text(who)
            for suffix in ("png", "cls"):
                shard.add(images / who / f"{number}.{suffix}", f"{who}/{number}.{suffix}")
            shutil.rmtree(images / who)
    data, _ = album.load()
    assert data.train.listing.files == ("000000.tar/a/0.png", "000000.tar/b/1.png")
    assert (pixels(data, "000000.tar/b/1.png") == np.asarray(crop(photo(1), fit(POINTS)))).all()


def test_photos_that_give_no_face_are_left_out_counted_and_listed_with_the_reason(album: Album) -> None:
    for number in range(20):
        album.add(f"{'ab'[number % 2]}/{number}.png")
    album.add("a/beside.png", POINTS + 900)
    album.add("a/mixed.png", POINTS[[1, 0, 2, 4, 3]])
    album.add("a/small.png", TEMPLATE * 0.2 + 50)
    album.add("a/unnamed.png", None)
    album.add("b/broken.png")
    (album.paths.channel("images") / "b/broken.png").write_bytes(b"")
    with album.table.open("a") as table:
        table.write("a/gone.png" + ",5" * 10 + "\n")
    data, log = album.load(max_unreadable=0.3)
    assert len(data.train.listing) == 20
    assert "aligned channel=images images=25 by=landmarks unreadable=1 without_face=4" in log
    assert "landmarks_without_image=1: listed in output/data/unreadable.csv" in log
    assert album.listed() == [
        ["landmarks", "a/gone.png", "has landmarks and is not there"],
        ["images", "a/beside.png", "cannot be aligned: a landmark lies 860 pixels out of the picture"],
        ["images", "a/mixed.png", "cannot be aligned: landmarks do not lie as in a face (another order?)"],
        ["images", "a/small.png", "cannot be aligned: 7.0 pixels between the eyes"],
        ["images", "a/unnamed.png", "cannot be aligned: the table has no landmarks for it"],
        ["images", "b/broken.png", "is empty"],
    ]
    with pytest.raises(TrainingError, match=r"5 of 25 images cannot be read and aligned, more than max_unr"):
        album.load(max_unreadable=0.1)


TABLE = "landmarks.csv"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (TABLE, "a/1.png,1,2,3,4,5,6\n", r"landmarks: landmarks.csv line 1: no columns for a file and five"),
        (TABLE, f"{HEADER}\na/1.png{',1' * 9}\n", r"channels.landmarks: landmarks.csv line 2: 10 columns"),
        ("more.lst", "", r"channels.landmarks: 2 tables \(.csv, .tsv, .txt, .lst\) where one is"),
        (TABLE, f"{HEADER}\nz/9.png{',1' * 10}\n", "none of the 2 images can be read and aligned"),
    ],
)
def test_landmarks_that_cannot_be_used_are_refused(album: Album, name: str, text: str, message: str) -> None:
    album.add("a/1.png")
    album.add("b/2.png")
    (album.table.parent / name).write_text(text)
    with pytest.raises(DataError, match=message):
        album.load()


def test_verification_is_on_aligned_faces_too(album: Album) -> None:
    for who in "abcd":
        for number in (1, 2):
            album.add(f"{who}/{number}.png", channel="images" if who < "c" else "validation", seed=ord(who))
    data, log = album.load()
    assert "aligned channel=validation images=4 by=landmarks unreadable=0 without_face=0" in log
    (one,) = data.sets
    shown = one.images.take(np.array([0]))[0][0]
    assert (shown == np.asarray(crop(photo(ord("c")), fit(POINTS)))).all()


def test_images_to_verify_on_that_have_no_landmarks_are_taken_as_aligned(album: Album) -> None:
    for who in "abcd":
        for number in (1, 2):
            outside = who >= "c"
            album.add(
                f"{who}/v{number}.png", None if outside else POINTS, "validation" if outside else "images"
            )
    _, log = album.load()
    assert "channels.validation: no image has landmarks: they are taken as aligned faces" in log
    assert "decoded channel=validation images=4 resized=4 unreadable=0" in log


def test_photos_that_do_not_fit_on_the_disk_as_faces_are_refused(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    album.add("a/1.png")
    alignment = from_channels(album.table.parent, None, no_finds)
    listing = find(album.paths.channel("images"), None)
    # However small the limit on the memory, for aligning anew for every epoch would take too long.
    decoding = Decoding(album.paths.base, alignment=alignment, cache_bytes=1)
    assert isinstance(open_dataset(listing, World(), decoding)[0].images, CachedImages)
    used = shutil.disk_usage(album.paths.base)._replace(free=50_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: used)
    with pytest.raises(TrainingError, match=r"1 photos become 0 MiB of aligned faces.*raise volume_gb, or"):
        open_dataset(listing, World(), decoding)


def test_a_run_is_not_resumed_on_faces_that_are_aligned_otherwise(album: Album) -> None:
    album.add("a/1.png")
    album.add("b/1.png")
    data, _ = album.load()
    before = fingerprint(Settings(), data.train.listing, data.aligned)
    with album.table.open("a") as table:
        table.write("c/1.png" + ",5" * 10 + "\n")
    again, _ = album.load()
    after = fingerprint(Settings(), again.train.listing, again.aligned)
    assert {name for name in before if before[name] != after[name]} == {"how faces are aligned"}


def load_as(rank: int, ranks: int, paths: ContainerPaths) -> None:
    """Leaves what one rank of a host has, and would tell."""
    torch.set_num_threads(1)
    meeting = f"file://{paths.base / 'meeting'}"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=ranks)
    world, log = World(rank, ranks, local_rank=rank, local_size=ranks), list[str]()
    chosen = Settings(holdout_fraction=0, max_unreadable=0.5, workers=1)
    data = load_data(paths, chosen, paths.base, world, stop=Stop(), log=log.append)
    found = data.train.images.take(np.arange(len(data.train.listing)))[0]
    np.savez(paths.base / f"{rank}.npz", pixels=found, log=log)
    distributed.destroy_process_group()


def test_every_rank_has_the_same_faces(album: Album) -> None:
    for number in range(35):  # in several parts
        album.add(f"{'ab'[number % 2]}/{number}.png", POINTS if number % 5 else None, seed=number)
    assert processes  # its import tells the server of forks what to load
    players = [processes.FORKS.Process(target=load_as, args=(rank, 2, album.paths)) for rank in range(2)]
    for player in players:
        player.start()
    for player in players:
        player.join(60)
    data, _ = album.load(max_unreadable=0.5)
    alone = data.train.images.take(np.arange(28))[0]
    for rank in range(2):
        found = np.load(album.paths.base / f"{rank}.npz")
        assert (found["pixels"] == alone).all()
        assert "aligned channel=images images=35 by=landmarks unreadable=0 without_face=7" in found["log"]


# -- A detector --------------------------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path: Path) -> ContainerPaths:
    """Photos of three people, one of nobody and one of many, and a detector in the weights channel."""
    paths = write_job(tmp_path, {})
    for who in ("s1", "s2", "s3"):
        folder = paths.channel("images") / who
        folder.mkdir(parents=True)
        for number in (1, 2, 3):
            with Image.open(REAL_DATA / "att_faces" / who / f"{number}.pgm") as face:
                face.resize((184, 224)).save(folder / f"{number}.png")
    Image.new("RGB", (300, 200), (90, 120, 60)).save(paths.channel("images") / "s1/wall.png")
    (paths.channel("images") / "s3/many.jpg").symlink_to(REAL_DATA / "group_photo.jpg")
    weights = paths.channel("weights") / "faces"
    weights.mkdir(parents=True)
    (weights / "scrfd.onnx").symlink_to(DETECTOR)
    return paths


@real_faces
def test_a_detector_in_the_weights_channel_finds_the_faces(real: ContainerPaths) -> None:
    log: list[str] = []
    chosen = Settings(detector="scrfd.onnx", holdout_fraction=0, max_unreadable=0.2)
    data = load_data(real, chosen, real.base, World(), stop=Stop(), log=log.append)
    assert "aligned channel=images images=11 by=detector unreadable=0 without_face=2" in log
    assert "unreadable images/s1/wall.png cannot be aligned: no face found" in log
    several = [line for line in log if line.startswith("unreadable images/s3/many.jpg")]
    assert "faces of similar size, none in the middle" in several[0]
    assert len(data.train.listing) == 9
    # The eyes lie where they lie in every aligned face: both darker than the bridge of the nose between them.
    faces = data.train.images.take(np.arange(9))[0].mean(axis=(0, 3))
    left, bridge, right = (faces[48:56, x - 4 : x + 4].mean() for x in (38, 56, 73))
    assert bridge > max(left, right) + 15


@real_faces
def test_the_faces_are_those_of_dataset_prepare(real: ContainerPaths, tmp_path: Path) -> None:
    prepare(Wanted(real.channel("images"), tmp_path / "out", detector=DETECTOR, form="png", processes=1))
    chosen = Settings(detector="faces/scrfd.onnx", holdout_fraction=0, max_unreadable=0.2)
    data = load_data(real, chosen, real.base, World(), stop=Stop(), log=lambda _line: None)
    assert len(data.train.listing) == 9
    for file in data.train.listing.files:
        with Image.open(tmp_path / "out" / file) as face:
            assert (np.asarray(face) == pixels(data, file)).all()


def test_a_job_cuts_faces_by_a_yolov5_detector_as_dataset_prepare_does(tmp_path: Path) -> None:
    paths = ContainerPaths(tmp_path / "job")
    for number in range(6):
        photo = paths.channel("images") / f"person{number % 2}" / f"{number}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        white_box((40 + 5 * number, 30, 110 + 5 * number, 120)).save(photo)
    paths.channel("weights").mkdir()
    write_detector(paths.channel("weights") / "best.onnx")
    by = paths.channel("weights") / "best.onnx"
    prepare(Wanted(paths.channel("images"), tmp_path / "out", detector=by, form="png", processes=1))
    chosen, log = Settings(detector="best.onnx", holdout_fraction=0), list[str]()
    for _ in range(2):  # found, and known from before
        data = load_data(paths, chosen, paths.base, World(), stop=Stop(), log=log.append)
        for file in data.train.listing.files:
            with Image.open(tmp_path / "out" / file) as face:
                assert (np.asarray(face) == pixels(data, file)).all()
    assert log.count("aligned channel=images images=6 by=detector unreadable=0 without_face=0") == 2


@real_faces
def test_landmarks_and_a_detector_at_once_are_refused(real: ContainerPaths) -> None:
    table = real.channel("landmarks") / "landmarks.csv"
    table.parent.mkdir()
    table.write_text(f"{HEADER}\ns1/1.png{',1' * 10}\n")
    with pytest.raises(TrainingError, match=r"detector: faces are aligned by it or by the landmarks channel"):
        from_channels(table.parent, real.channel("weights") / "faces/scrfd.onnx", no_finds)


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(TrainingError, match=r"channels.weights: .*x.onnx is no face detector \("):
        from_channels(tmp_path / "none", tmp_path / "x.onnx", no_finds)


@real_faces
def test_what_was_found_before_a_job_was_stopped_is_kept(real: ContainerPaths) -> None:
    stop, log = Stop(), list[str]()
    begun = iter(range(3))  # parts of the channel that are begun before it is told to stop

    def check() -> None:
        if next(begun, None) is None:
            raise StoppedError("now")

    stop.check = check  # type: ignore[method-assign]
    chosen = Settings(detector="scrfd.onnx", holdout_fraction=0, max_unreadable=0.2, workers=4)
    with pytest.raises(StoppedError):
        load_data(real, chosen, real.base, World(), stop=stop, log=log.append)
    (folder,) = real.checkpoints.iterdir()
    assert 0 < len(Finds(folder, 0, log.append).known) < 11
    load_data(real, chosen, real.base, World(), stop=Stop(), log=log.append)
    assert len(Finds(folder, 0, log.append).known) == 11
