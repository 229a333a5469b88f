"""The networks, in arcface_torch's state-dict layout: weights move between the two projects unchanged.

Every network takes float images (n, 3, 112, 112), RGB, (x / 255 - 0.5) / 0.5, and gives embeddings (n, 512),
not normalised. Layout: deepinsight/insightface, recognition/arcface_torch/backbones.
"""

from collections.abc import Callable, Mapping
from functools import cache

from torch import Tensor, device, nn

from training.arcface.backbones.iresnet import IResNet
from training.arcface.backbones.mobilefacenet import MobileFaceNet
from training.arcface.backbones.vit import VisionTransformer

EMBEDDING_SIZE = 512
IMAGE_SIZE = 112

_BUILDERS: Mapping[str, Callable[[], nn.Module]] = {
    "r18": lambda: IResNet((2, 2, 2, 2)),
    "r34": lambda: IResNet((3, 4, 6, 3)),
    "r50": lambda: IResNet((3, 4, 14, 3)),
    "r100": lambda: IResNet((3, 13, 30, 3)),
    "r200": lambda: IResNet((6, 26, 60, 6)),
    "mbf": lambda: MobileFaceNet((1, 4, 6, 2), scale=2),
    "mbf_large": lambda: MobileFaceNet((2, 8, 12, 4), scale=4),
    "vit_t": lambda: VisionTransformer(256, depth=12),
    "vit_s": lambda: VisionTransformer(512, depth=12),
    "vit_b": lambda: VisionTransformer(512, depth=24),
}
NAMES = tuple(_BUILDERS)


def build(name: str) -> nn.Module:
    """A freshly initialised network. Raises ValueError for a name that is not in NAMES."""
    if name not in _BUILDERS:
        raise ValueError(f'network: "{name}" is not one of {", ".join(NAMES)}')
    return _BUILDERS[name]()


def fitting(state: Mapping[str, Tensor]) -> list[str]:
    """The networks whose keys and shapes are exactly those of `state`: what a weight file is for."""
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    return [name for name in NAMES if _shapes(name) == shapes]


@cache
def _shapes(name: str) -> dict[str, tuple[int, ...]]:
    with device("meta"):
        return {key: tuple(value.shape) for key, value in build(name).state_dict().items()}
