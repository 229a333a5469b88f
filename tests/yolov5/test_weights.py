"""Weights to start from: read without running anything, and refused in one sentence."""

import pickle
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from training.container.errors import TrainingError
from training.yolov5 import weights


class Tiny(nn.Module):
    """As a detector is built: layers below `model`, the last one's rows for classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 8, 3), Head(classes))


class Head(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.cv3 = nn.ModuleList([nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, classes, 1))])


@pytest.fixture
def of_package(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes Tiny a class of another package while it is saved, as of one that is not installed here."""

    def save(path: Path, network: nn.Module, package: str, **content: Any) -> Path:
        for name in (package.split(".", maxsplit=1)[0], package):
            module = ModuleType(name)
            vars(module).update(Tiny=Tiny, Head=Head)
            monkeypatch.setitem(sys.modules, name, module)
        for kind in (Tiny, Head):
            monkeypatch.setattr(kind, "__module__", package)
        torch.save({"epoch": 3, "ema": None, "model": network, **content}, path)
        monkeypatch.undo()
        return path

    return save


def named(network: Tiny, *names: str) -> Tiny:
    network.names = dict(enumerate(names))  # type: ignore[assignment]
    return network


def test_a_checkpoint_of_ultralytics_is_read_where_ultralytics_is_not_there(
    tmp_path: Path, of_package: Any
) -> None:
    network = named(Tiny(2), "red", "blue")
    found = weights.read(of_package(tmp_path / "best.pt", network.half(), "ultralytics.nn.tasks"))
    assert found.classes == ("red", "blue")
    assert found.tensors.keys() == network.state_dict().keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in network.state_dict().items())


def test_the_old_format_is_refused_with_the_remedy(tmp_path: Path, of_package: Any) -> None:
    path = of_package(tmp_path / "yolov5s.pt", Tiny(2), "models.yolo")
    with pytest.raises(TrainingError) as refused:
        weights.read(path)
    assert str(refused.value) == (
        "weights/yolov5s.pt is in the old format (YOLOv5 v6.2 or before, with anchors), which this network "
        "cannot take over: put yolov5nu.pt, yolov5su.pt … from "
        "https://github.com/ultralytics/assets/releases there, or leave the channel out"
    )


def test_old_tensors_without_their_network_are_known_by_their_anchors(tmp_path: Path) -> None:
    path = tmp_path / "yolov5s.pt"
    torch.save({"model.24.anchors": torch.zeros(3, 3, 2), "model.0.weight": torch.zeros(1)}, path)
    with pytest.raises(TrainingError, match="in the old format"):
        weights.read(path)


def test_files_as_the_first_yolov5_left_them_are_of_the_old_format(tmp_path: Path) -> None:
    path = tmp_path / "yolov5s.pt"
    torch.save({"model": torch.zeros(1)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(TrainingError, match="in the old format"):
        weights.read(path)


class Evil:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return (Path.touch, (self.proof,))


def test_nothing_of_a_file_is_run(tmp_path: Path) -> None:
    proof, path = tmp_path / "proof", tmp_path / "best.pt"
    torch.save({"model": Evil(proof)}, path)
    with pytest.raises(TrainingError, match=r"^weights/best.pt is damaged or no PyTorch checkpoint"):
        weights.read(path)
    assert not proof.exists()


def test_damaged_files_programs_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(pickle.dumps({"model": 1}))
    with pytest.raises(TrainingError, match=r"^weights/best.pt is damaged or no PyTorch checkpoint"):
        weights.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best/constants.pkl", b"")
    with pytest.raises(TrainingError, match="a TorchScript program"):
        weights.read(path)
    torch.save([1, 2], path)
    with pytest.raises(TrainingError, match="holds no network"):
        weights.read(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(TrainingError, match="damaged"):
        weights.read(path)


def test_classes_that_are_known_keep_their_rows_and_others_start_anew() -> None:
    theirs, mine = Tiny(2), Tiny(3)
    before = mine.state_dict()["model.1.cv3.0.2.weight"].clone()
    line = weights.load_into(
        mine, weights.Weights("a.pt", theirs.state_dict(), ("red", "blue")), ("x", "blue", "y")
    )
    after, rows = mine.state_dict()["model.1.cv3.0.2.weight"], theirs.state_dict()["model.1.cv3.0.2.weight"]
    assert torch.equal(after[1], rows[1])
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert line == "weights loaded from a.pt tensors=6/6 classes_known=1"


def test_weights_of_another_network_are_refused() -> None:
    other = {"model.0.weight": torch.zeros(4, 3, 3, 3), "model.0.bias": torch.zeros(8)}
    with pytest.raises(TrainingError, match=r"is of another network or size \(1 of 6 tensors fit\)"):
        weights.load_into(Tiny(2), weights.Weights("a.pt", other), ("red", "blue"))


def test_weights_that_are_no_numbers_are_refused() -> None:
    broken = {name: value * float("nan") for name, value in Tiny(2).state_dict().items()}
    with pytest.raises(TrainingError, match=r"^weights/a.pt holds weights that are no numbers"):
        weights.load_into(Tiny(2), weights.Weights("a.pt", broken), ("red", "blue"))


def test_the_file_is_the_only_one_or_the_one_that_is_named(tmp_path: Path) -> None:
    assert weights.choose(tmp_path / "none", "") is None
    one = tmp_path / "yolov5su.pt"
    one.touch()
    (tmp_path / "notes.txt").touch()
    assert weights.choose(tmp_path, "") == weights.choose(tmp_path, "yolov5su") == one
    (tmp_path / "best.pt").touch()
    assert weights.choose(tmp_path, "yolov5su.pt") == one
    with pytest.raises(TrainingError, match=r"channel holds best.pt, yolov5su.pt: say in pretrained"):
        weights.choose(tmp_path, "")
    assert weights.choose(tmp_path, "/opt/ml/input/data/weights/yolov5su.pt") == one
    with pytest.raises(TrainingError, match=r"^pretrained: the weights channel has no yolov5m, but best.pt"):
        weights.choose(tmp_path, "yolov5m")


def test_a_channel_with_other_files_alone_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    assert weights.choose(tmp_path, "") is None
    (tmp_path / "model.tar.gz").touch()
    with pytest.raises(TrainingError, match=r"^the weights channel holds model.tar.gz and no .pt or .pth"):
        weights.choose(tmp_path, "")
    with pytest.raises(TrainingError, match="has no yolov5s: put it there, or leave the name out"):
        weights.choose(tmp_path, "yolov5s")
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "BEST.PT").touch()
    assert weights.choose(tmp_path, "") == tmp_path / "small" / "BEST.PT"
