"""What a job makes of bad data and bad files, from its folders to its exit status and one sentence why."""

import csv
import errno
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.arcface.examples import TinyNetwork, picture, write_job, write_pictures
from tests.arcface.processes import _NoOutputs, _tiny
from tests.arcface.test_checkpoint import flip_a_bit
from tests.formats.test_shards import png, shard
from training.arcface import trainer
from training.container import checkpoint
from training.container.main import main
from training.jobs import contract
from training.jobs.contract import ContainerPaths

KNOBS = {"network": "mbf", "batch_size": 4, "max_steps": 2, "log_interval": 1, "compile": "off"}


class Ran:
    """A job that was run in this process: its exit status, its log and its folders."""

    def __init__(self, paths: ContainerPaths, log: str, status: int):
        self.paths, self.log, self.status = paths, log, status

    def reason(self) -> str:
        """What the failure file says; a failure has no traceback, for it is none of the trainer's own."""
        assert self.status == 1, self.log
        assert "Traceback" not in self.log
        text = self.paths.failure.read_text(encoding="utf-8")
        assert len(text) < contract.FAILURE_REASON_LIMIT
        assert "\n" not in text
        return text

    def went_well(self) -> str:
        assert self.status == 0, self.log
        assert not self.paths.failure.exists()
        return self.log


Job = Callable[..., Ran]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Job]:
    """Runs `train` on the folders below tmp_path, with the tiny network and without writing a model."""
    monkeypatch.setattr(trainer, "fresh_backbone", _tiny)
    monkeypatch.setattr(trainer, "outputs", _NoOutputs())
    before = signal.getsignal(signal.SIGTERM)

    def run(knobs: Mapping[str, Any] | None = None) -> Ran:
        paths = write_job(tmp_path, {**KNOBS, **(knobs or {})})
        paths.failure.unlink(missing_ok=True)
        status = main(["train"], {contract.BASE_DIR_VARIABLE: str(tmp_path)})
        return Ran(paths, capsys.readouterr().err, status)

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return ContainerPaths(tmp_path).channel("images")


def labels(images: Path, text: str) -> None:
    folder = images.parent / "labels"
    folder.mkdir(parents=True)
    (folder / "labels.csv").write_text(text, encoding="utf-8")


# -- Whom to tell apart ------------------------------------------------------------------------------------


def test_classes_numbered_with_holes_are_trained_on_without_the_holes(job: Job, images: Path) -> None:
    write_pictures(images, 3, 3)
    rows = [f"{who}/{number}.png,{who * 1000 + 7}" for who in range(3) for number in range(3)]
    labels(images, "\ufefffile,identity\r\n" + "\r\n".join([*rows, rows[0]]) + "\r\n")
    assert " identities=3 " in job({"holdout_fraction": 0}).went_well()


def test_labels_of_missing_files_are_counted_and_passed_over(job: Job, images: Path) -> None:
    write_pictures(images, 2, 2)
    labels(images, "file,identity\n0/0.png,a\n0/1.png,a\n1/0.png,b\n1/1.png,b\n9/9.png,c\n")
    assert "labels_without_image=1" in job({"holdout_fraction": 0}).went_well()


def test_labels_of_another_dataset_are_refused(job: Job, images: Path) -> None:
    write_pictures(images, 2, 2)
    labels(images, "file,identity\nx.png,a\ny.png,b\n")
    assert job().reason().startswith("labels.csv: none of its 2 files is in channels.images")


def test_one_class_is_refused(job: Job, images: Path) -> None:
    write_pictures(images, 1, 4)
    assert "training tells people apart, so it needs two identities or more" in job().reason()


def test_a_class_with_one_image_is_trained_on(job: Job, images: Path) -> None:
    write_pictures(images, 2, 3)
    write_pictures(images / "alone", 1, 1)
    assert " images=7 identities=3 " in job({"holdout_fraction": 0}).went_well()


def test_many_classes_with_one_image_each_are_trained_on_and_not_verified(job: Job, images: Path) -> None:
    members = {f"{who}.png": png(who % 5, who) for who in range(100)}
    shard(images / "0.tar", members | {f"{who}.cls": str(who).encode() for who in range(100)})
    log = job({"batch_size": 64}).went_well()
    assert "no verification: 0 of 100 identities have two images or more" in log


def test_names_in_any_script_are_trained_on_and_stay_out_of_the_log(job: Job, images: Path) -> None:
    names = ["Zoë Müller", "李小龙", "محمد"]
    for name in names:
        write_pictures(images / name, 1, 2)
    log = job({"holdout_fraction": 0}).went_well()
    assert not any(name in log for name in names)


def test_someone_in_both_training_and_validation_is_refused(job: Job, images: Path) -> None:
    write_pictures(images, 3, 2)
    write_pictures(images.parent / "validation", 2, 2)
    reason = job().reason()
    assert "2 of its 2 identities are in channels.images too" in reason
    assert "remove them from one" in reason


def test_fewer_images_than_a_batch_are_trained_on_in_smaller_steps(job: Job, images: Path) -> None:
    write_pictures(images, 2, 2)
    assert " batch=4 " in job({"batch_size": 512, "holdout_fraction": 0}).went_well()


def test_an_empty_channel_is_refused(job: Job, images: Path) -> None:
    images.mkdir(parents=True)
    assert job().reason().startswith("channels.images: no images among 0 files")


# -- Images ------------------------------------------------------------------------------------------------


def test_images_of_every_kind_are_trained_on_and_those_resized_are_counted(job: Job, images: Path) -> None:
    write_pictures(images, 2, 2)
    colour = Image.fromarray(picture(0, 9))
    for mode, name in (("L", "grey.png"), ("RGBA", "alpha.png"), ("P", "palette.gif"), ("CMYK", "cmyk.jpg")):
        colour.convert(mode).save(images / "0" / name)
    Image.new("RGB", (92, 112)).save(images / "1" / "narrow.png")
    Image.new("L", (3000, 2000)).save(images / "1" / "large.jpg")
    log = job({"holdout_fraction": 0}).went_well()
    assert "decoded channel=images images=10 resized=2 unreadable=0" in log


def unreadable(folder: Path) -> list[str]:
    """Files named like images that are none, each in its own way."""
    whole = png(0, 0)
    (folder / "empty.png").touch()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "page.jpg").write_text("<html>403</html>")
    (folder / "circle.jpg").symlink_to(folder / "circle.jpg")
    (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
    os.mkfifo(folder / "pipe.jpg")
    return ["circle.jpg", "cut.png", "empty.png", "nowhere.jpg", "page.jpg", "pipe.jpg"]


def test_unreadable_images_are_skipped_counted_and_listed(job: Job, images: Path) -> None:
    write_pictures(images, 2, 6)
    names = unreadable(images / "0")
    ran = job({"max_unreadable": 0.5, "holdout_fraction": 0})
    assert " images=12 " in ran.went_well()
    assert "unreadable=6" in ran.log
    rows = csv.DictReader((ran.paths.output_data / "unreadable.csv").read_text().splitlines())
    assert [row["file"] for row in rows] == [f"0/{name}" for name in names]


def test_too_many_unreadable_images_are_refused_and_listed_too(job: Job, images: Path) -> None:
    write_pictures(images, 2, 6)
    unreadable(images / "0")
    ran = job()
    assert re.search(r"6 of 18 images cannot be read, more than max_unreadable 0\.1 allows", ran.reason())
    assert "Replace them (output/data/unreadable.csv lists all), or raise max_unreadable" in ran.reason()
    assert len((ran.paths.output_data / "unreadable.csv").read_text().splitlines()) == 7


def test_no_image_that_can_be_read_is_refused(job: Job, images: Path) -> None:
    for who in range(2):
        (images / str(who)).mkdir(parents=True)
        (images / str(who) / "1.jpg").touch()
    assert (
        job({"max_unreadable": 1}).reason().startswith("none of the 2 images can be read: 0/1.jpg is empty")
    )


def test_a_shard_that_is_cut_short_is_refused_by_name(job: Job, images: Path) -> None:
    path = shard(images / "00.tar", {"a.png": png(0, 0), "a.cls": b"anna"})
    path.write_bytes(path.read_bytes()[:3000])
    assert job().reason().startswith("channels.images: 00.tar is cut short")


# -- Weights and checkpoints -------------------------------------------------------------------------------


def test_weights_that_are_no_numbers_are_refused(job: Job, images: Path) -> None:
    write_pictures(images, 2, 2)
    state = TinyNetwork().state_dict()
    state["fc.weight"][3, 4] = float("nan")
    folder = images.parent / "weights"
    folder.mkdir()
    torch.save(state, folder / "backbone.pth")
    assert "backbone.pth has NaN or infinite values in fc.weight: take another" in job().reason()


def damage(how: str, path: Path) -> None:
    if how == "flipped":
        flip_a_bit(path / "state.pt")
    else:
        data = (path / "state.pt").read_bytes()
        (path / "state.pt").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("how", ["flipped", "cut short"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_used(job: Job, images: Path, how: str) -> None:
    write_pictures(images, 2, 4)
    knobs = {"holdout_fraction": 0, "checkpoint_steps": 1, "max_steps": 3}
    ran = job(knobs)
    ran.went_well()
    older, newer = checkpoint.found(ran.paths.checkpoints)
    damage(how, newer)
    log = job(knobs).went_well()
    assert newer.name in log
    assert f"resumed step={int(older.name.removeprefix('step-'))}/3" in log


def test_a_disk_that_fills_up_while_saving_is_told_and_does_not_end_the_training(
    job: Job, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_pictures(images, 2, 4)
    monkeypatch.setattr(torch, "save", full)
    ran = job({"holdout_fraction": 0})
    assert "No space left on device" in ran.log
    assert re.search(r"checkpoint.*(free|space|volume_gb)", ran.log)
    assert checkpoint.found(ran.paths.checkpoints) == []


def test_a_disk_without_room_for_the_pixels_decodes_as_it_goes_and_lists_what_it_cannot_read(
    job: Job, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(images, 2, 4)
    (images / "1" / "2.png").write_bytes(b"")
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    ran = job({"holdout_fraction": 0})
    assert "streaming channel=images images=8" in ran.went_well()
    table = (ran.paths.output_data / "unreadable.csv").read_text().splitlines()
    assert table == ["channel,file,reason", "images,1/2.png,is empty"]


# -- Hyperparameters ---------------------------------------------------------------------------------------


def test_every_wrong_hyperparameter_is_told_at_once_with_the_nearest_name(job: Job) -> None:
    reason = job({"epoch": 3, "batch_size": 0, "network": "r51", "lr": "fast"}).reason()
    assert 'hyperparameters.epoch: arcface has no such hyperparameter (did you mean "epochs"?)' in reason
    assert "hyperparameters.batch_size: 0 is out of range" in reason
    assert "hyperparameters.network" in reason
    assert "r50" in reason
    assert "hyperparameters.lr" in reason
