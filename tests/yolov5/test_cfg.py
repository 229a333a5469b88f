"""The cfg channel: files known by what they hold, and which of them says what."""

import json
from pathlib import Path

import pytest

from tests.yolov5.files import DATASET, HYP, MODEL, write_cfg, write_job, write_train_args
from training.container import given
from training.container.errors import TrainingError
from training.jobs.config import ConfigError
from training.yolov5 import cfg


def test_files_are_known_by_what_they_hold(tmp_path: Path) -> None:
    found = cfg.read(write_cfg(tmp_path, some=MODEL, other=HYP))
    assert list(found.networks) == ["some"]
    assert found.names == ("red", "blue")
    assert found.paths == {"train": ("images/train",), "val": ("images/val",)}
    assert found.knobs["lr"] == 0.02
    assert found.knobs["lr_final"] == 0.1


def test_the_datasets_paths_may_be_lists_as_in_v62s_voc(tmp_path: Path) -> None:
    text = "nc: 1\ntrain:\n  - images/train2012\n  - images/train2007\nval: images/test2007\n"
    found = cfg.read(write_cfg(tmp_path, data=text + "test:\ndownload: |\n  print(1)\n"))
    assert found.paths == {"train": ("images/train2012", "images/train2007"), "val": ("images/test2007",)}


def test_v62s_hyperparameters_without_a_counterpart_are_named_with_the_reason(tmp_path: Path) -> None:
    assert cfg.read(write_cfg(tmp_path, hyp=HYP)).unused == (
        "box, cls, cls_pw, obj, obj_pw, fl_gamma: the loss is another, with gains of its own",
        "iou_t, anchor_t: boxes are predicted without anchors",
        "copy_paste: it needs outlines, and boxes are trained on",
    )


def test_train_args_rank_above_hyp_and_the_jobs_own_above_both(tmp_path: Path) -> None:
    paths = write_job(tmp_path, momentum=0.7)
    write_cfg(paths.channel("cfg"), hyp=HYP)
    write_train_args(paths, {"lr": 0.03, "epochs": 5, "momentum": 0.6})
    config = given.read_config(paths)
    assert (config["weight_decay"], config["lr"], config["momentum"]) == (0.0005, 0.03, 0.7)
    assert (config["lr_final"], config["epochs"]) == (0.1, 5)


def test_train_args_may_begin_with_a_byte_order_mark_and_hold_numbers_as_texts(tmp_path: Path) -> None:
    paths = write_job(tmp_path)
    text = '{"epochs": "5", "batch-size": "8", "model_name": "yolov5su.pt"}'
    (paths.channel("cfg") / "train-args.json").write_text(text, encoding="utf-8-sig")
    config = given.read_config(paths)
    assert (config["epochs"], config["batch_size"], config["pretrained"]) == (5, 8, "yolov5su.pt")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"data": "nc: 3\nnames: [face]\n"}, "cfg/data.yaml: nc is 3, but names has 1: make them agree"),
        ({"mine": "nc: [\n"}, "cfg/mine.yaml is not YAML"),
        ({"mine": "- a\n"}, "cfg/mine.yaml must hold names and values"),
        ({"mine": "color: blue\n"}, "cfg/mine.yaml is neither a network"),
        ({"mine": DATASET}, "several datasets (cfg/data.yaml, cfg/mine.yaml): leave one there"),
        ({"hyp": HYP, "hyp2": HYP}, "several sets of hyperparameters"),
        ({"a/mine": MODEL, "b/mine": MODEL}, "several networks called mine: leave one there"),
    ],
)
def test_a_file_that_cannot_be_understood_is_named(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(TrainingError) as refused:
        cfg.read(write_cfg(tmp_path, **files))
    assert said in str(refused.value)


def test_wrong_hyperparameters_are_all_told_with_their_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        cfg.read(write_cfg(tmp_path, hyp=HYP.replace("0.02", "-1") + "mosaik: 1.0\n"))
    assert [problem.path for problem in refused.value.problems] == ["cfg/hyp.yaml.lr0", "cfg/hyp.yaml.mosaik"]


def test_a_value_that_json_has_not_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'2026-06-30' is not a number"):
        cfg.read(write_cfg(tmp_path, hyp=HYP.replace("0.02", "2026-06-30")))


def test_what_notebooks_and_systems_leave_behind_is_passed_over(tmp_path: Path) -> None:
    write_cfg(tmp_path, **{"hyp": HYP, ".ipynb_checkpoints/hyp-checkpoint": HYP})
    (tmp_path / "._hyp.yaml").write_bytes(b"\x00\x05\x16\x07\x00\x02")
    assert cfg.read(tmp_path).knobs["lr"] == 0.02


@pytest.mark.parametrize("name", ["cfg.tar.gz", "cfg.zip", "cfg.tar"])
def test_an_archive_of_configuration_is_to_be_unpacked(tmp_path: Path, name: str) -> None:
    (write_cfg(tmp_path) / name).write_bytes(b"")
    with pytest.raises(TrainingError) as refused:
        cfg.read(tmp_path)
    assert str(refused.value) == f"cfg/{name} is an archive, which is not read: unpack it into the channel"


@pytest.mark.parametrize(
    ("files", "model", "pretrained", "chosen"),
    [
        ((), "", "", "yolov5s"),
        ((), "yolov5l", "", "yolov5l"),
        ((), "", "yolov5mu.pt", "yolov5m"),
        ((), "", "best.pt", "yolov5s"),
        (("mine",), "", "", "mine"),
        (("mine",), "", "yolov5n.pt", "mine"),
        (("mine",), "yolov5x", "", "yolov5x"),
        (("mine", "other"), "mine.yaml", "", "mine"),
        (("mine", "yolov5s"), "", "yolov5s.pt", "yolov5s"),
    ],
)
def test_the_network_is_chosen_by_name_by_file_or_by_the_weights(
    tmp_path: Path, files: tuple[str, ...], model: str, pretrained: str, chosen: str
) -> None:
    found = cfg.read(write_cfg(tmp_path, **dict.fromkeys(files, MODEL)))
    assert cfg.choose(found, model, pretrained).name == chosen


def test_a_network_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    found = cfg.read(write_cfg(tmp_path, mine=MODEL, other=MODEL))
    with pytest.raises(
        TrainingError, match=r"^model: there is no yolov5s6: it is one of yolov5n, .*mine.yaml"
    ):
        cfg.choose(found, "yolov5s6", "")
    with pytest.raises(
        TrainingError, match=r"^the cfg channel holds mine, other: say in model which to train"
    ):
        cfg.choose(found, "", "")


def test_a_name_as_json_writes_it_is_taken(tmp_path: Path) -> None:
    write_cfg(tmp_path, data=json.dumps({"nc": 1, "names": {"0": "face"}}).replace('"0"', "0"))
    assert cfg.read(tmp_path).names == ("face",)


def test_without_the_channel_nothing_is_set(tmp_path: Path) -> None:
    assert cfg.read(tmp_path / "cfg") == cfg.Cfg(paths={"train": (), "val": ()})
