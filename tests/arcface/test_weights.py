"""Weight files, as this trainer, arcface_torch and others write them."""

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from training.arcface import backbones, weights
from training.container.errors import TrainingError

State = dict[str, Tensor]
CENTRES = torch.randn(3, 512, generator=torch.Generator().manual_seed(1))
CLASSES = "class,identity,images\n0,anna,4\n1,boris,5\n2,carla,6\n"


@pytest.fixture(scope="module")
def state() -> State:
    """A MobileFaceNet's, none of its values the initial one."""
    torch.manual_seed(0)
    state = backbones.build("mbf").state_dict()
    return {
        key: value + torch.rand_like(value) if value.is_floating_point() else value
        for key, value in state.items()
    }


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_checkpoint(folder: Path, rank: int, state: State, centres: Tensor) -> Path:
    """What each rank of arcface_torch writes after an epoch."""
    value = {
        "epoch": 3,
        "global_step": 300,
        "state_dict_backbone": state,
        "state_dict_softmax_fc": {"weight": centres},
        "state_optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "state_lr_scheduler": {"base_lrs": [0.1], "last_epoch": 300},
    }
    path = folder / f"checkpoint_gpu_{rank}.pt"
    torch.save(value, path)
    return path


# -- What loads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_state_dict_loads_whatever_wrapped_the_network(state: State, tmp_path: Path, prefix: str) -> None:
    torch.save({f"{prefix}{key}": value for key, value in state.items()}, tmp_path / "model.pt")
    assert same(weights.read(tmp_path / "model.pt").backbone, state)


def test_a_checkpoint_of_this_trainer_loads(state: State, tmp_path: Path) -> None:
    torch.save({"learner": {"backbone": state, "optimizer": {}}, "progress": {}}, tmp_path / "state.pt")
    assert same(weights.read(tmp_path / "state.pt").backbone, state)


def test_safetensors_load(state: State, tmp_path: Path) -> None:
    safetensors.torch.save_file(state, tmp_path / "any name.safetensors")
    assert same(weights.read(tmp_path / "any name.safetensors").backbone, state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_become_float32(
    state: State, tmp_path: Path, dtype: torch.dtype
) -> None:
    torch.save(
        {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()},
        tmp_path / "half.pth",
    )
    read = weights.read(tmp_path / "half.pth").backbone
    assert {key: value.dtype for key, value in read.items()} == {
        key: value.dtype for key, value in state.items()
    }
    assert torch.equal(read["conv_sep.layers.0.weight"], state["conv_sep.layers.0.weight"].to(dtype).float())


def test_loading_into_a_network_gives_it_the_files_weights(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "backbone.pth")
    pretrained = weights.from_channel(tmp_path, "")
    assert pretrained is not None
    fresh = backbones.build("mbf")
    weights.load_into(fresh, pretrained, "mbf")
    assert same(dict(fresh.state_dict()), state)


def test_a_weight_files_network_is_built_from_its_shapes(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "backbone.pth")
    network = weights.load_network(tmp_path / "backbone.pth")
    assert not network.training
    assert same(dict(network.state_dict()), state)


@pytest.mark.parametrize("dot", ["", "./"])
@pytest.mark.parametrize("name", ["backbone.pth", "backbone.safetensors"])
def test_an_earlier_jobs_archive_holds_weights_centres_and_identities(
    state: State, tmp_path: Path, name: str, dot: str
) -> None:
    content = io.BytesIO()
    torch.save(state, content)
    backbone = content.getvalue() if name == "backbone.pth" else safetensors.torch.save(state)
    files = {
        name: backbone,
        "model.onnx": b"a program",
        "head.safetensors": safetensors.torch.save({"centres": CENTRES}),
        "classes.csv": CLASSES.encode(),
        "config.json": json.dumps({"network": "mbf"}).encode(),
    }
    path = write_archive(tmp_path / "model.tar.gz", {f"{dot}{key}": value for key, value in files.items()})
    read = weights.read(path)
    assert same(read.backbone, state)
    assert read.identities == ("anna", "boris", "carla")
    assert read.centres is not None
    assert torch.equal(read.centres, CENTRES)


def test_an_unpacked_job_is_one_model_with_its_centres(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "backbone.pth")
    for name in ("backbone.safetensors", "head.safetensors"):
        safetensors.torch.save_file(state if name[0] == "b" else {"centres": CENTRES}, tmp_path / name)
    (tmp_path / "model.onnx").touch()
    (tmp_path / "classes.csv").write_text(CLASSES)
    read = weights.from_channel(tmp_path, "")
    assert read is not None
    assert read.identities == ("anna", "boris", "carla")
    assert same(read.backbone, state)


def test_the_checkpoints_of_arcface_torchs_ranks_are_one_model(state: State, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 1, state, CENTRES[2:])
    write_checkpoint(tmp_path, 0, state, CENTRES[:2])
    (tmp_path / "classes.csv").write_text(CLASSES)
    read = weights.from_channel(tmp_path, "")
    assert read is not None
    assert read.centres is not None
    assert torch.equal(read.centres, CENTRES)
    assert same(read.backbone, state)


def test_centres_of_nobody_knows_whom_are_left_out(state: State, tmp_path: Path) -> None:
    read = weights.read(write_checkpoint(tmp_path, 0, state, CENTRES))
    assert read.centres is None
    assert same(read.backbone, state)


# -- What does not -----------------------------------------------------------------------------------------


class Leaves:
    """A trace, where its pickle is run."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", ["torch", "pickle"])
def test_no_code_from_a_file_is_run(tmp_path: Path, save: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "x.pth"
    if save == "torch":
        torch.save({"conv1.weight": torch.zeros(1), "x": Leaves(trace)}, path)
    else:
        path.write_bytes(pickle.dumps(Leaves(trace)))
    with pytest.raises(TrainingError, match=r"x\.pth .*"):
        weights.read(path)
    assert not trace.exists()


def test_a_pickled_network_is_refused_with_what_to_write_instead(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), tmp_path / "x.pt")
    with pytest.raises(
        TrainingError, match=r"holds Python objects .* write torch\.save\(model\.state_dict\(\)"
    ):
        weights.read(tmp_path / "x.pt")


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_is_refused_with_what_to_write_instead(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), tmp_path / "x.pt")
    with pytest.raises(TrainingError, match=r"is a TorchScript program.*torch\.jit\.load"):
        weights.read(tmp_path / "x.pt")


def test_onnx_is_refused_with_what_to_take_instead(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(TrainingError, match=r"channels\.weights: model\.onnx .* take the backbone\.pth"):
        weights.from_channel(tmp_path, "")


def test_weights_of_another_network_are_refused_with_the_one_that_fits(state: State) -> None:
    with torch.device("meta"):
        other = backbones.build("r18")
    with pytest.raises(TrainingError, match="x does not hold weights of r18: set network to mbf"):
        weights.load_into(other, weights.Pretrained("x", state), "r18")


def test_weights_of_no_network_are_refused_with_their_first_keys(tmp_path: Path) -> None:
    torch.save({"stem.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(TrainingError, match=r"fits no network here: its 1 tensors \(stem\.weight …\)"):
        weights.load_network(tmp_path / "x.pth")


def test_weights_with_nan_are_refused(state: State, tmp_path: Path) -> None:
    key = "conv_sep.layers.0.weight"
    torch.save(state | {key: torch.full_like(state[key], float("nan"))}, tmp_path / "x.pt")
    with pytest.raises(TrainingError, match=r"NaN or infinite values in conv_sep\.layers\.0\.weight"):
        weights.read(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.tar.gz"])
def test_a_file_that_is_no_weight_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(TrainingError, match=rf"{name} is (not a weight file|damaged or no archive)"):
        weights.read(tmp_path / name)


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.tar.gz"])
def test_a_file_that_is_cut_short_is_refused(state: State, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "x.tar.gz":
        write_archive(path, {"backbone.safetensors": safetensors.torch.save(state)})
    elif name == "x.safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(TrainingError, match="copy it once more"):
        weights.read(path)


def test_an_archive_that_holds_no_model_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "model.tar.gz", {"deep/backbone.pth": b"", "report.html": b""})
    with pytest.raises(TrainingError, match=r"holds no backbone\.safetensors or backbone\.pth"):
        weights.read(path)


def test_an_archive_that_unpacks_to_more_than_any_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.container.archive.MOST_BYTES", 1000)
    path = write_archive(tmp_path / "model.tar.gz", {"zeros": b"\0" * 1001})
    with pytest.raises(TrainingError, match="unpacks to more than"):
        weights.read(path)


# -- Which file --------------------------------------------------------------------------------------------


def test_the_weight_file_asked_for_must_be_there(tmp_path: Path) -> None:
    assert weights.choose(tmp_path / "no-channel", "") is None
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).touch()
    assert weights.choose(tmp_path, "b.pth") == tmp_path / "b.pth"
    with pytest.raises(TrainingError, match=r"2 weight files .* name one with the hyperparameter pretrained"):
        weights.choose(tmp_path, "")
    with pytest.raises(TrainingError, match=r'has no "c\.pth" \(did you mean "[ab]\.pth"\?\)'):
        weights.choose(tmp_path, "c.pth")
    with pytest.raises(TrainingError, match="no weights channel"):
        weights.choose(tmp_path / "no-channel", "a.pth")


def test_an_earlier_jobs_output_folder_holds_one_model(tmp_path: Path) -> None:
    for name in ("model.tar.gz", "output.tar.gz"):
        (tmp_path / name).touch()
    assert weights.choose(tmp_path, "") == tmp_path / "model.tar.gz"


def test_a_face_detector_is_not_taken_for_weights(tmp_path: Path) -> None:
    (tmp_path / "scrfd.onnx").write_bytes(b"")
    assert weights.choose(tmp_path, "", "scrfd.onnx") is None
    assert weights.choose_detector(tmp_path, "scrfd.onnx") == tmp_path / "scrfd.onnx"
    assert weights.choose_detector(tmp_path, "") is None
    weights.check(tmp_path, "", "scrfd.onnx")
    with pytest.raises(
        TrainingError, match=r"weights: scrfd.onnx is an ONNX .* named by the hyperparameter det"
    ):
        weights.check(tmp_path, "", "")
    with pytest.raises(TrainingError, match=r'detector: channels.weights has no "scfd.onnx" \(did you mean'):
        weights.choose(tmp_path, "", "scfd.onnx")
    with pytest.raises(TrainingError, match=r'detector: "x.onnx" is asked for, but the job has no weights'):
        weights.choose_detector(tmp_path / "no-channel", "x.onnx")
    (tmp_path / "backbone.pth").write_bytes(b"")
    assert weights.choose(tmp_path, "", "scrfd.onnx") == tmp_path / "backbone.pth"
    assert weights.choose(tmp_path, "backbone.pth", "scrfd.onnx") == tmp_path / "backbone.pth"
    with pytest.raises(TrainingError, match="2 weight files"):
        weights.choose(tmp_path, "")
