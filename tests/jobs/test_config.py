"""Defaults, then cfg/train-args.json, then the job's hyperparameters: each ranks above the one before."""

from typing import Any

import pytest

from training.jobs.algorithms import ALGORITHMS
from training.jobs.config import ConfigError, convert, parse_train_args, resolve

ARCFACE = ALGORITHMS["arcface"]


def test_without_either_every_knob_has_its_default() -> None:
    assert resolve(ARCFACE, {}, {}) == {name: knob.default for name, knob in ARCFACE.knobs.items()}


def test_every_default_is_a_value_that_its_knob_takes() -> None:
    for name, knob in ARCFACE.knobs.items():
        assert convert(knob, knob.default, typed=True) == knob.default, name


def test_the_job_ranks_above_train_args_and_these_above_the_defaults() -> None:
    resolved = resolve(ARCFACE, {"epochs": 5, "batch_size": 64}, {"algorithm": "arcface", "epochs": "7"})
    assert (resolved["epochs"], resolved["batch_size"], resolved["margin"]) == (7, 64, 0.5)


@pytest.mark.parametrize(
    ("train_args", "name", "value"),
    [
        ({"batch-size": 32}, "batch_size", 32),
        ({"--epochs": "4"}, "epochs", 4),
        ({"pretrained_model_name": "backbone.pth"}, "pretrained", "backbone.pth"),
        ({"backbone": "r100"}, "network", "r100"),
    ],
)
def test_names_that_existing_files_use_are_understood(
    train_args: dict[str, Any], name: str, value: object
) -> None:
    assert resolve(ARCFACE, train_args, {})[name] == value


def test_every_wrong_value_of_both_is_reported_with_its_place() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(ARCFACE, {"epochs": 0, "optimiser": "x"}, {"lr": "fast", "flip": "maybe", "epocs": "3"})
    assert [problem.path for problem in caught.value.problems] == [
        "cfg/train-args.json.epochs",
        "cfg/train-args.json.optimiser",
        "hyperparameters.lr",
        "hyperparameters.flip",
        "hyperparameters.epocs",
    ]


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), ("1", True), ("off", False)])
def test_booleans_come_as_strings_from_sagemaker(text: str, value: bool) -> None:
    assert resolve(ARCFACE, {}, {"flip": text})["flip"] is value


@pytest.mark.parametrize("text", ["nan", "inf", "1e400", "", "0x10"])
def test_no_other_number_like_text_is_taken(text: str) -> None:
    with pytest.raises(ConfigError, match=r"hyperparameters\.lr"):
        resolve(ARCFACE, {}, {"lr": text})


@pytest.mark.parametrize("text", ["1,0.5", "1;0.5;0", "1,0.5,0,0", "one,two,three", ""])
def test_the_combined_margins_are_three_numbers_or_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r'hyperparameters\.margins: ".*" is not written like "1,0.5,0"'):
        resolve(ARCFACE, {}, {"margins": text})
    assert resolve(ARCFACE, {}, {"margins": "0.9, 0.4,0.15"})["margins"] == "0.9, 0.4,0.15"


@pytest.mark.parametrize(("text", "words"), [("{", "is not JSON"), ("[1]", "must hold an object")])
def test_a_train_args_file_that_holds_no_object_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_train_args(text)


def test_a_new_knob_is_a_decision_not_a_habit() -> None:
    """docs/adr/0004 and 0009 say why there are so many; one more takes another away, or says why not."""
    assert len(ARCFACE.knobs) <= 44
