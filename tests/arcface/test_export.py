"""The ONNX file, as others open it."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from insightface.model_zoo import get_model

from tests.arcface.examples import REAL_DATA, TinyNetwork
from training.arcface import backbones
from training.arcface.backbones.vit import VisionTransformer
from training.arcface.export import export_onnx
from training.arcface.learner import to_input
from training.container.errors import TrainingError
from training.formats.decode import decode


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """A MobileFaceNet with statistics and slopes unlike the initial ones, so that leaving one out shows."""
    torch.manual_seed(0)
    built = backbones.build("mbf")
    with torch.no_grad():
        for module in built.modules():
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            if isinstance(module, torch.nn.PReLU):
                module.weight.uniform_(-0.2, 0.5)
    return built.eval()


@pytest.fixture(scope="module")
def exported(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(network, path)
    return path


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("batch", [1, 5])
def test_any_batch_gives_pytorchs_embeddings(network: torch.nn.Module, exported: Path, batch: int) -> None:
    images = torch.randn(batch, 3, 112, 112)
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"input": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(got, network(images).numpy(), rtol=1e-3, atol=1e-4)


def test_a_graph_that_differs_is_never_put_in_place(
    network: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.arcface.export.LEAST_COSINE", 1.1)  # nothing is that alike
    with pytest.raises(RuntimeError, match="ONNX differs from PyTorch"):
        export_onnx(network, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_gives_no_numbers_is_not_exported(tmp_path: Path) -> None:
    broken = TinyNetwork().eval()
    torch.nn.init.constant_(broken.fc.weight, float("inf"))
    with pytest.raises(TrainingError, match=r"no finite numbers.*lower lr"):
        export_onnx(broken, tmp_path / "model.onnx")


@pytest.fixture(scope="module")
def transformer() -> torch.nn.Module:
    """A narrow one of two blocks: attention and LayerNorm as the real ones have them."""
    torch.manual_seed(0)
    return VisionTransformer(width=64, depth=2).eval()


@pytest.mark.parametrize("kind", ["network", "transformer"])
def test_insightface_opens_it_and_gives_the_same_embeddings_of_real_faces(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    files = sorted((REAL_DATA / "att_faces").glob("s[1-4]/1.pgm"))
    if not files:
        pytest.skip(f"{REAL_DATA / 'att_faces'} is not here: the AT&T faces are not part of the project")
    pixels = np.stack([decode(file.read_bytes())[0] for file in files])
    network = request.getfixturevalue(kind)
    export_onnx(network, tmp_path / "model.onnx")
    model = get_model(str(tmp_path / "model.onnx"))
    theirs = np.stack([model.get_feat(image[:, :, ::-1]).ravel() for image in pixels])
    with torch.no_grad():
        ours = network(to_input(pixels, torch.device("cpu"))).numpy()
    assert model.taskname == "recognition"
    assert min(map(cosine, theirs, ours)) >= 0.9999


def test_pixels_are_normalised_as_arcface_torch_does() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    expected = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    torch.testing.assert_close(to_input(pixels, torch.device("cpu")), expected)
    one_mirrored = to_input(pixels, torch.device("cpu"), np.array([True, False]))
    torch.testing.assert_close(one_mirrored, torch.stack([expected[0].flip(2), expected[1]]))
