"""Pictures and labels: which belong together, what is kept aside, and what is said of wrong ones."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.yolov5.files import write_pictures
from training.container.errors import TrainingError
from training.jobs.contract import ContainerPaths
from training.yolov5 import dataset
from training.yolov5.dataset import Data


@pytest.fixture
def paths(tmp_path: Path) -> ContainerPaths:
    """Ten pictures to train on and four to measure on."""
    paths = ContainerPaths(tmp_path)
    write_pictures(paths, "train", 10)
    write_pictures(paths, "val", 4, 1000)
    return paths


def load(
    paths: ContainerPaths,
    named: Mapping[str, Sequence[str]] | None = None,
    *,
    share: float = 0.2,
    seed: int = 0,
    check_stop: Callable[[], None] = lambda: None,
) -> Data:
    return dataset.load(
        paths,
        ("red", "blue"),
        named or {},
        val_fraction=share,
        max_unreadable=0.1,
        seed=seed,
        check_stop=check_stop,
    )


def label(paths: ContainerPaths, number: int = 0) -> Path:
    return paths.channel("labels") / "train" / f"{number:04}.txt"


def test_a_picture_has_the_boxes_of_the_file_that_is_called_like_it(paths: ContainerPaths) -> None:
    data = load(paths)
    assert data.train.files == tuple(f"train/{number:04}.png" for number in range(10))
    assert [len(boxes) for boxes in data.train.boxes] == [1, 2] * 5
    assert data.train.boxes[1][:, 0].tolist() == [0, 1]
    assert len(data.val) == 4
    assert not data.lines


def test_the_yamls_paths_are_found_by_their_ends(paths: ContainerPaths) -> None:
    (paths.channel("images") / "train").rename(paths.channel("images") / "learn")
    (paths.channel("labels") / "train").rename(paths.channel("labels") / "learn")
    named = {"train": ["/home/somebody/shapes/images/learn"], "val": [r"..\shapes\images\val"]}
    data = load(paths, named)
    assert len(data.train) == 10
    assert len(data.val) == 4


def test_the_yaml_may_name_several_folders_and_one_in_another(paths: ContainerPaths) -> None:
    write_pictures(paths, "all/more", 3, 2000)
    write_pictures(paths, "all/kept", 2, 3000)
    data = load(paths, {"train": ["images/train", "images/all"], "val": ["images/all/kept"]})
    assert len(data.train) == 13
    assert data.val.files == ("all/kept/3000.png", "all/kept/3001.png")
    assert data.lines == (
        "not used: 4 pictures outside images/train/ or images/all/ or images/all/kept/, such as "
        "images/val/1000.png",
    )


def test_train_and_images_may_be_in_either_order(paths: ContainerPaths) -> None:
    for channel in ("images", "labels"):
        (paths.channel(channel) / "val").rename(paths.channel(channel) / "valid")
    data = load(paths, {"train": ["../train/images"], "val": ["../valid/images"]})
    assert (len(data.train), len(data.val)) == (10, 4)


def test_nothing_is_measured_on_that_is_trained_on(paths: ContainerPaths) -> None:
    same = {"train": ["images/train"], "val": ["images/train"]}  # as v6.2's coco128.yaml has it
    assert len(load(paths, same).val) == 4
    (paths.channel("images") / "val").rename(paths.base / "elsewhere")
    data = load(paths, same)
    assert (len(data.train), len(data.val)) == (8, 2)


def test_where_val_is_empty_a_share_is_kept_aside(paths: ContainerPaths) -> None:
    for file in (paths.channel("images") / "val").iterdir():
        file.unlink()
    data = load(paths)
    assert (len(data.train), len(data.val)) == (8, 2)


def test_a_path_that_no_disk_can_have_names_no_folder(paths: ContainerPaths) -> None:
    assert len(load(paths, {"train": ["x" * 5000]}).train) == 10


def test_without_val_the_same_pictures_are_kept_aside_for_one_seed(paths: ContainerPaths) -> None:
    (paths.channel("images") / "val").rename(paths.base / "elsewhere")
    first, again, other = load(paths), load(paths), load(paths, seed=1)
    assert len(first.val) == 2
    assert not set(first.val.files) & set(first.train.files)
    assert first.val.files == again.val.files != other.val.files


def test_without_anything_to_measure_on_it_is_said_why(paths: ContainerPaths) -> None:
    (paths.channel("images") / "val").rename(paths.base / "elsewhere")
    assert load(paths, share=0).reason == "val_fraction is 0, and images has no folder val"
    assert load(paths, share=0.01).reason == "10 pictures are too few to keep some aside"


def test_labels_may_lie_beside_the_pictures(paths: ContainerPaths) -> None:
    for file in (paths.channel("labels") / "train").iterdir():
        file.rename(paths.channel("images") / "train" / file.name)
    for file in (paths.channel("labels") / "val").iterdir():
        file.rename(paths.channel("images") / "val" / file.name)
    for role in ("train", "val"):
        (paths.channel("labels") / role).rmdir()
    paths.channel("labels").rmdir()
    assert load(paths).train.objects() == 15


def test_a_missing_label_is_told_and_its_picture_has_nothing_in_it(paths: ContainerPaths) -> None:
    label(paths, 1).unlink()
    data = load(paths)
    assert data.unlabelled == 1
    assert not len(data.train.boxes[1])
    assert data.lines == (
        "unlabelled=1 of 14 pictures have no label file, such as images/train/0001.png: they count as "
        "pictures with nothing in them",
    )


def test_where_most_labels_are_missing_the_job_fails_with_the_first(paths: ContainerPaths) -> None:
    for number in range(9):
        label(paths, number).unlink()
    with pytest.raises(
        TrainingError, match=r"^9 of 14 pictures have no label file: for images/train/0000.png"
    ):
        load(paths)


def test_a_class_beyond_nc_fails_the_job_with_file_line_and_classes(paths: ContainerPaths) -> None:
    label(paths).write_text("0 0.5 0.5 0.1 0.1\n5 0.5 0.5 0.1 0.1\n")
    with pytest.raises(TrainingError) as refused:
        load(paths)
    assert str(refused.value) == (
        "labels/train/0000.txt, line 2: class 5 is not among the 2 that nc and names give (0 to 1); 1 rows "
        "are so: name every class in the dataset's YAML (it names red, blue), or mend the labels"
    )


def test_a_picture_whose_label_is_wrong_is_left_out_and_listed(paths: ContainerPaths) -> None:
    label(paths, 3).write_text("0 1.5 0.5 0.1 0.1\n")
    data = load(paths)
    assert len(data.train) == 9
    ((file, why),) = data.unreadable
    assert file == "train/0003.png"
    assert why.startswith("labels/train/0003.txt, line 1: 1.5 is out of range")


def test_a_label_file_that_is_far_too_large_is_not_read(
    paths: ContainerPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "LARGEST_LABEL", 2**20)
    with label(paths, 3).open("wb") as file:
        file.truncate(2**20 + 1)
    ((_, why),) = load(paths).unreadable
    assert why == "labels/train/0003.txt is larger than 1 MiB: it is no label file"


def test_more_wrong_ones_than_allowed_fail_the_job(paths: ContainerPaths) -> None:
    (paths.channel("images") / "train" / "0000.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((4, 60, 3), np.uint8)).save(paths.channel("images") / "train" / "0001.png")
    with pytest.raises(TrainingError) as refused:
        load(paths)
    assert "2 of 14 images cannot be read with their labels, more than max_unreadable 0.1" in str(
        refused.value
    )
    assert "train/0001.png has 60 x 4 pixels, too few" in str(refused.value)
    assert str(paths.base) not in str(refused.value)


def test_nothing_to_train_on_is_told(paths: ContainerPaths) -> None:
    for file in (paths.channel("labels") / "train").iterdir():
        file.write_text("")
    with pytest.raises(TrainingError, match=r"^no picture to train on has a box"):
        load(paths)
    for file in (paths.channel("images") / "train").iterdir():
        file.unlink()
    with pytest.raises(TrainingError, match=r"^images/train/ holds no pictures"):
        load(paths)
    (paths.channel("images") / "train.zip").touch()
    with pytest.raises(TrainingError, match=r"^images/train.zip is an archive, which is not read: unpack it"):
        load(paths)


def test_a_stop_is_heeded_while_labels_are_read(paths: ContainerPaths) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(paths, check_stop=stop)
