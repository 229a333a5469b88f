"""The trainer's settings and the registry's knobs are one list."""

from dataclasses import fields

from training.arcface.settings import Settings
from training.jobs.algorithms import ALGORITHMS
from training.jobs.config import resolve

KNOBS = ALGORITHMS["arcface"].knobs


def test_every_knob_is_a_setting_of_its_kind_and_nothing_else_is() -> None:
    assert {field.name: field.type for field in fields(Settings)} == {
        name: knob.kind for name, knob in KNOBS.items()
    }


def test_settings_are_what_resolve_gives() -> None:
    settings = Settings.from_config(resolve(ALGORITHMS["arcface"], {}, {"network": "mbf", "epochs": "3"}))
    assert settings == Settings(network="mbf", epochs=3)
