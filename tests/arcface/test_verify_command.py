"""Any model, on any set, from the command's own process."""

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper
from PIL import Image
from torch import nn

from tests.arcface.examples import REAL_DATA, picture, write_pictures
from training.arcface.backbones import build
from training.arcface.verification.command import main
from training.arcface.verification.models import load, of_network, of_onnx


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build("mbf").eval()


@pytest.fixture(scope="module")
def weights(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "backbone.pth"
    torch.save(network.state_dict(), path)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


def pixels(identity: int = 0) -> torch.Tensor:
    return torch.from_numpy(picture(identity, 0)).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_weights_are_verified_on_identities(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, told = run(capsys, weights, write_pictures(tmp_path / "people", 3, 2))
    assert code == 0
    assert (found["network"], found["genuine"], found["impostor"]) == ("mbf", 3, 12)
    assert found["rank_1"] is not None
    assert "verification " in told


def test_a_list_of_pairs_may_lie_apart_from_its_images(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_pictures(tmp_path / "images", 2, 2)
    (tmp_path / "mine.csv").write_text("0/0.png,0/1.png,1\n0/0.png,1/0.png,0\n")
    code, found, _ = run(capsys, weights, tmp_path / "mine.csv", "--images", images)
    assert code == 0
    assert found["genuine"] == found["impostor"] == 1


def test_a_bin_is_verified(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [picture(who, number) for who, number in ((0, 0), (0, 1), (0, 0), (1, 0))]
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps((images, [True, False]), 2))
    assert run(capsys, weights, tmp_path / "lfw.bin")[1]["auc"] == 1


def test_what_cannot_be_used_is_said_of_its_argument(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = write_pictures(tmp_path / "people", 1, 2)
    (tmp_path / "text.pth").write_text("no weights")
    for model, chosen, place, sentence in (
        (tmp_path / "none.pth", people, "MODEL", "there is no "),
        (tmp_path / "text.pth", people, "MODEL", "text.pth is not a weight file"),
        (people, people, "MODEL", f"{people} holds 0 files that could be a model"),
        (weights, tmp_path / "none.bin", "SET", f"{tmp_path}/none.bin does not exist"),
        (weights, weights, "SET", f"{weights} is neither a .bin nor a list of pairs"),
        (weights, people, "SET", "1 identities, 2 images of the most pictured"),
    ):
        code, found, _ = run(capsys, model, chosen)
        assert code == 2
        assert found["error"]["path"] == place
        assert found["error"]["message"].startswith(sentence)


# -- Models ------------------------------------------------------------------------------------------------


def test_a_model_is_the_same_in_every_form(network: nn.Module, weights: Path, tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    expected = of_network(network, cpu)(pixels())
    job = tmp_path / "job"
    job.mkdir()
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    safetensors.torch.save_file(state, job / "backbone.safetensors")
    (job / "classes.csv").write_text("class,identity,images\n")
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        packed.add(weights, "backbone.pth")
    for path in (weights, job, job / "backbone.safetensors", archive):
        assert (load(path, cpu).embed(pixels()) == expected).all()


def program(path: Path, batch: int | str, normalises: bool) -> Path:
    """Flattens the picture, of which it takes a corner; perhaps after (x - 127.5) / 127.5 of its own."""
    given = helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, 112, 112])
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, [batch, 512])
    numbers = {"mean": [127.5], "std": [1 / 127.5]}
    values = [helper.make_tensor(name, TensorProto.FLOAT, [1], value) for name, value in numbers.items()]
    values += [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("start", 0), ("end", 512), ("axis", 1))
    ]
    nodes = [
        helper.make_node("Sub", ["data", "mean"], ["less"]),
        helper.make_node("Mul", ["less", "std"], ["normal"]),
    ]
    nodes = nodes if normalises else []
    nodes += [
        helper.make_node("Flatten", ["normal" if normalises else "data"], ["flat"]),
        helper.make_node("Slice", ["flat", "start", "end", "axis"], ["out"]),
    ]
    graph = helper.make_graph(nodes, "g", [given], [result], values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize("batch", [1, "n"])
@pytest.mark.parametrize("normalises", [False, True])
def test_an_onnx_program_gets_what_it_expects(tmp_path: Path, batch: int | str, normalises: bool) -> None:
    images = torch.cat([pixels(0), pixels(1), pixels(2)])
    both = (images + images.flip(3)).flatten(1)[:, :512]
    got = of_onnx(program(tmp_path / "x.onnx", batch, normalises))(images)
    assert got.numpy() == pytest.approx(nn.functional.normalize(both).numpy(), abs=1e-5)


def test_a_model_whose_embeddings_are_no_numbers_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = program(tmp_path / "x.onnx", "n", normalises=False)
    model = onnx.load(str(path))
    model.graph.node.insert(0, helper.make_node("Log", ["data"], ["log"]))
    model.graph.node[1].input[0] = "log"
    onnx.save(model, str(path))
    error = run(capsys, path, tmp_path)[1]["error"]
    assert error["path"] == "MODEL"
    assert "values that are not finite" in error["message"]


def test_what_is_no_recognition_program_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.onnx").write_bytes(b"none")
    assert "no ONNX program" in run(capsys, tmp_path / "x.onnx", tmp_path)[1]["error"]["message"]


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"no real faces at {REAL_DATA}")
def test_a_detector_is_no_recognition_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    detector = REAL_DATA / "models" / "scrfd_500m_kps.onnx"
    message = run(capsys, detector, tmp_path)[1]["error"]["message"]
    assert "where a recognition model takes one input" in message


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"no real faces at {REAL_DATA}")
def test_real_faces_are_verified_as_a_list_of_pairs_and_as_a_bin_alike(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = {f"s{who}": [REAL_DATA / "att_faces" / f"s{who}" / f"{n}.pgm" for n in (1, 2)] for who in (1, 2)}
    encoded, lines = [], ["2"]
    for name, (one, other) in people.items():
        lines.append(f"{name}\t1\t2")
        encoded += [png(one), png(other)]
        (tmp_path / "set" / name).mkdir(parents=True)
        for number, path in enumerate((one, other), 1):
            Image.open(path).save(tmp_path / "set" / name / f"{name}_{number:04}.png")
    lines += ["s1\t1\ts2\t1", "s1\t2\ts2\t2"]
    (tmp_path / "set" / "pairs.txt").write_text("\n".join(lines))
    same = [encoded[place] for place in (0, 1, 2, 3, 0, 2, 1, 3)]
    (tmp_path / "x.bin").write_bytes(pickle.dumps((same, [True, True, False, False])))
    as_list = run(capsys, weights, tmp_path / "set" / "pairs.txt")[1]
    as_bin = run(capsys, weights, tmp_path / "x.bin")[1]
    assert as_list["eer"] == as_bin["eer"]
    assert as_list["threshold"] == pytest.approx(as_bin["threshold"], abs=1e-6)


def png(path: Path) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(Image.open(path))).save(file, "PNG")
    return file.getvalue()
