"""The layout of the weights, which other programs read and write."""

import pytest
import torch

from training.arcface import backbones
from training.arcface.backbones.vit import Block, VisionTransformer
from training.arcface.layers import PReLU
from training.jobs.algorithms import NETWORKS


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in backbones.build(name).state_dict().items()}


@pytest.mark.parametrize(
    "name", ["r18", "mbf", "mbf_large", "vit_t"]
)  # the others differ in width and the number of blocks alone
def test_a_network_gives_512_values_an_image(name: str) -> None:
    network = backbones.build(name).eval()
    with torch.no_grad():
        embeddings = network(torch.zeros(2, 3, 112, 112))
    assert embeddings.shape == (2, 512)
    assert torch.isfinite(embeddings).all()


def test_an_iresnet_has_arcface_torchs_keys() -> None:
    bn = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {"conv1.weight", "prelu.weight", "fc.weight", "fc.bias"}
    expected |= {f"{layer}.{key}" for layer in ("bn1", "bn2", "features") for key in bn}
    for stage in range(1, 5):
        for block in range(2):
            prefix = f"layer{stage}.{block}"
            expected |= {f"{prefix}.{key}.weight" for key in ("conv1", "prelu", "conv2")}
            expected |= {f"{prefix}.{layer}.{key}" for layer in ("bn1", "bn2", "bn3") for key in bn}
        expected |= {f"layer{stage}.0.downsample.0.weight"}
        expected |= {f"layer{stage}.0.downsample.1.{key}" for key in bn}
    assert shapes("r18").keys() == expected


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


@pytest.fixture(scope="module")
def vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(64, depth=3)


def test_a_vits_training_masks_a_tenth_of_the_patches(vit: VisionTransformer) -> None:
    seen: list[tuple[int, ...]] = []
    hooks = [block.register_forward_hook(lambda _, __, out: seen.append(out.shape)) for block in vit.blocks]
    vit.train()(torch.zeros(2, 3, 112, 112))
    vit.eval()(torch.zeros(1, 3, 112, 112))
    for hook in hooks:
        hook.remove()
    assert seen == [(2, 129, 64)] * 3 + [(1, 144, 64)] * 3


def test_a_vits_masked_patches_are_stood_in_for_by_the_token(vit: VisionTransformer) -> None:
    seen: list[torch.Tensor] = []
    hook = vit.feature.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    vit.train()(torch.randn(2, 3, 112, 112))
    hook.remove()
    is_token = (seen[0].reshape(2, 144, 64) == vit.mask_token[0, 0]).all(2)
    assert is_token.sum(1).tolist() == [15, 15]


def test_a_vit_drops_whole_branches_the_more_the_deeper(vit: VisionTransformer) -> None:
    assert [block.dropped for block in vit.blocks] == [0, 0.05, 0.1]
    block = Block(8, dropped=0.5).train()
    x = torch.randn(400, 2, 8)
    same = (block(x) == x).flatten(1).all(1).float().mean()
    assert 0.15 < same < 0.35  # both branches dropped: a quarter


def test_a_vits_training_repeats_with_the_seed(vit: VisionTransformer) -> None:
    images = torch.randn(2, 3, 112, 112)
    vit.train()
    outcomes = []
    for _ in range(2):
        torch.manual_seed(7)
        outcomes.append(vit(images))
    assert torch.equal(*outcomes)


def test_a_vit_keeps_its_last_layers_in_full_precision(vit: VisionTransformer) -> None:
    images = torch.randn(4, 3, 112, 112)
    vit.eval()
    with torch.autocast("cpu", torch.bfloat16):
        half = vit(images)
    assert half.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(half, vit(images)).min() > 0.999


def test_a_weight_files_network_is_told_from_its_shapes() -> None:
    with torch.device("meta"):
        assert backbones.fitting(backbones.build("r34").state_dict()) == ["r34"]
    assert backbones.fitting({"conv1.weight": torch.zeros(1)}) == []


def test_what_a_manifest_may_name_is_what_can_be_built() -> None:
    assert backbones.NAMES == NETWORKS


def test_an_unknown_network_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match=r'"r49" is not one of r18, .*vit_b'):
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
