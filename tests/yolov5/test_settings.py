"""One field for each knob, with its default and kind."""

from dataclasses import fields

from training.jobs.algorithms import YOLOV5_KNOBS
from training.yolov5.settings import Settings


def test_settings_are_the_knobs() -> None:
    assert [field.name for field in fields(Settings)] == list(YOLOV5_KNOBS)
    for field in fields(Settings):
        knob = YOLOV5_KNOBS[field.name]
        assert field.default == knob.default
        assert field.type == knob.kind
