"""What the detector found, for the next part of a run."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.arcface.examples import picture
from training.arcface.data.finds import Finds
from training.formats.alignment import TEMPLATE, Points
from training.formats.detector import Detector, Found
from training.formats.faces import UnusableError


class Looking(Detector):
    """Says where the face is, if there is one, and counts how often it is asked."""

    def __init__(self, points: Points | None = TEMPLATE):
        self.points, self.asked = points, 0

    def faces(self, photo: Image.Image) -> list[Found]:
        self.asked += 1
        return [] if self.points is None else [Found((0, 0, 99, 99), 0.9, self.points)]


def encoded(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture(seed, 0)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def test_a_resumed_run_does_not_look_again(tmp_path: Path) -> None:
    again, log = Looking(None), list[str]()
    finds = Finds(tmp_path / "faces", 0, log.append)
    before = finds.cut(encoded(1), Looking(TEMPLATE + 1 / 3))
    with pytest.raises(UnusableError, match="no face found"):
        finds.cut(encoded(2), Looking(None))
    finds.keep()
    resumed = Finds(tmp_path / "faces", 3, log.append)  # on other devices
    assert (np.asarray(resumed.cut(encoded(1), again).face) == np.asarray(before.face)).all()
    with pytest.raises(UnusableError, match="no face found"):
        resumed.cut(encoded(2), again)
    assert again.asked == 0
    with pytest.raises(UnusableError):
        resumed.cut(encoded(3), again)  # a photo that is new, or has changed
    assert (again.asked, log) == (1, [])


def test_what_was_found_is_written_as_it_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.arcface.data.finds.PHOTOS", 2)
    for part in range(2):  # each killed: what was not yet a file is lost
        finds = Finds(tmp_path, 0, print)
        for number in range(5):
            finds.cut(encoded(10 * part + number), Looking())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"rank-0-{number:06}.jsonl" for number in range(4)]
    assert len(Finds(tmp_path, 0, print).known) == 8


def test_one_host_writes_what_all_found(tmp_path: Path) -> None:
    finds = Finds(tmp_path, 8, print, writes=False)
    finds.cut(encoded(1), Looking())
    finds.keep()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"photo": "xyz"}', '{"photo": "00", "points": [1, 2]}', "7"])
def test_what_is_damaged_is_looked_for_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "rank-0-000000.jsonl").write_text(text + "\n")
    log: list[str] = []
    assert Finds(tmp_path, 0, log.append).known == {}
    assert log == [f"{tmp_path}/rank-0-000000.jsonl is damaged: its photos are looked at again"]


def test_a_run_whose_finds_cannot_be_written_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log: list[str] = []
    finds = Finds(tmp_path / "file" / "faces", 0, log.append)
    for number in range(2):
        finds.cut(encoded(number), Looking())
        finds.keep()
    assert len(log) == 1
    assert "what the detector finds is not kept (Not a directory): a resumed run looks again" in log[0]
