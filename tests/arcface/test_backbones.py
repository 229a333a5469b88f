"""The layout of the weights, which other programs read and write."""

import pytest
import torch

from training.arcface import backbones
from training.arcface.layers import PReLU

# deepinsight/insightface, recognition/arcface_torch: the published networks' parameter counts.
PARAMETERS = {
    "r18": 24_025_600,
    "r34": 34_139_328,
    "r50": 43_590_848,
    "r100": 65_156_160,
    "r200": 118_833_920,
    "mbf": 2_059_520,
    "mbf_large": 6_314_880,
}


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in backbones.build(name).state_dict().items()}


@pytest.mark.parametrize("name", backbones.NAMES)
def test_each_network_has_the_published_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        network = backbones.build(name)
    assert sum(weight.numel() for weight in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize(
    "name", ["r18", "mbf", "mbf_large"]
)  # the others differ in the number of blocks alone
def test_a_network_gives_512_values_an_image(name: str) -> None:
    network = backbones.build(name).eval()
    with torch.no_grad():
        embeddings = network(torch.zeros(2, 3, 112, 112))
    assert embeddings.shape == (2, 512)
    assert torch.isfinite(embeddings).all()


@pytest.mark.parametrize(("name", "blocks"), [("r18", (2, 2, 2, 2)), ("r100", (3, 13, 30, 3))])
def test_an_iresnet_has_arcface_torchs_keys(name: str, blocks: tuple[int, ...]) -> None:
    bn = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {"conv1.weight", "prelu.weight", "fc.weight", "fc.bias"}
    expected |= {f"{layer}.{key}" for layer in ("bn1", "bn2", "features") for key in bn}
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            prefix = f"layer{stage}.{block}"
            expected |= {f"{prefix}.{key}.weight" for key in ("conv1", "prelu", "conv2")}
            expected |= {f"{prefix}.{layer}.{key}" for layer in ("bn1", "bn2", "bn3") for key in bn}
        expected |= {f"layer{stage}.0.downsample.0.weight"}
        expected |= {f"layer{stage}.0.downsample.1.{key}" for key in bn}
    assert shapes(name).keys() == expected


def test_an_iresnets_stride_is_on_the_second_convolution_of_each_stage() -> None:
    with torch.device("meta"):
        network = backbones.build("r18")
    strides = {
        key: layer.stride[0]
        for key, layer in network.named_modules()
        if isinstance(layer, torch.nn.Conv2d) and layer.stride[0] != 1
    }
    stages = range(1, 5)
    assert strides == {f"layer{stage}.0.{key}": 2 for stage in stages for key in ("conv2", "downsample.0")}


def test_an_iresnets_last_scale_is_fixed_at_one() -> None:
    features = backbones.build("r18").get_submodule("features")
    assert isinstance(features.weight, torch.nn.Parameter)
    assert not features.weight.requires_grad
    assert (features.weight == 1).all()


def test_mobilefacenet_has_arcface_torchs_keys_and_shapes() -> None:
    found = shapes("mbf")
    assert found["layers.0.layers.0.weight"] == (128, 3, 3, 3)
    assert found["layers.1.layers.0.weight"] == (128, 2, 3, 3)
    assert found["layers.2.layers.1.layers.0.weight"] == (128, 1, 3, 3)
    assert found["layers.3.layers.3.layers.2.layers.1.running_var"] == (128,)
    assert found["layers.4.layers.2.layers.0.weight"] == (256, 256, 1, 1)
    assert found["layers.7.layers.1.layers.0.layers.2.weight"] == (256,)
    assert found["conv_sep.layers.0.weight"] == (512, 256, 1, 1)
    assert found["features.layers.0.layers.0.weight"] == (512, 1, 7, 7)
    assert found["features.layers.2.weight"] == (512, 512)
    assert found["features.layers.3.weight"] == (512,)


def test_a_weight_files_network_is_told_from_its_shapes() -> None:
    with torch.device("meta"):
        assert backbones.fitting(backbones.build("r34").state_dict()) == ["r34"]
    assert backbones.fitting({"conv1.weight": torch.zeros(1)}) == []


def test_an_unknown_network_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match=r'"r49" is not one of r18, .*mbf_large'):
        backbones.build("r49")


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (3, 4)])
def test_the_fast_prelu_has_pytorchs_values_and_gradients(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    own, reference = PReLU(4).double(), torch.nn.PReLU(4).double()
    slopes = torch.tensor([0.25, -0.5, 0.0, 2.0], dtype=torch.float64)
    results = []
    for layer in (own, reference):
        layer.weight.data.copy_(slopes)
        leaf = x.clone().requires_grad_()
        out = layer(leaf)
        out.square().sum().backward()
        results.append((out, leaf.grad, layer.weight.grad))
    for mine, theirs in zip(*results, strict=True):
        assert mine is not None
        assert theirs is not None
        torch.testing.assert_close(mine, theirs)
