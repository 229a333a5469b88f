"""What is said where ultralytics is not: its package is in one image alone."""

import sys
from pathlib import Path

import pytest

from training.container.errors import TrainingError
from training.yolov5 import library


def test_without_the_package_the_way_to_its_image_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {**library.SWITCHES, "YOLO_CONFIG_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(TrainingError, match=r"ultralytics is not installed here: .* --algorithm yolov5"):
        library.prepare()
