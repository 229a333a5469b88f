"""Vision Transformer (Dosovitskiy et al. 2021, arXiv:2010.11929), as arcface_torch lays it out.

12 x 12 patches of 9 x 9 pixels, so the last four rows and columns of an image are not looked at. There is no
class token: a linear layer reads all patches' final states. Three things happen in training alone: whole
branches are dropped, by image; patches are masked, as if by masked autoencoders (He et al. 2022,
arXiv:2111.06377), and a learnt token stands for each in front of the linear layer; its BatchNorms use the
batch's statistics.

Published weights come from variants (`vit_t_dp005_mask0`, `vit_b_dp005_mask_005`, …) that differ only in how
much training drops and masks: they load here.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.arcface.layers import full_precision

IMAGE, PATCH = 112, 9
PATCHES = (IMAGE // PATCH) ** 2
HEADS = 8
# Share of the patches that training masks, and of the last block's branches that it drops (the first block's
# are never dropped, those between in proportion). arcface_torch passes its masked share on nowhere, so that
# it masks a tenth in every network that masks at all.
MASKED = 0.1
DROPPED = 0.1


class Attention(nn.Module):
    """Every patch looks at every patch, by `HEADS` heads."""

    def __init__(self, width: int):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        out = functional.scaled_dot_product_attention(q, k, v)  # each (n, heads, patches, width / heads)
        mixed: Tensor = self.proj(out.transpose(1, 2).flatten(2))
        return mixed


class Perceptron(nn.Module):
    """Each patch by itself: four times as wide, and back."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.relu6(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention, then a perceptron, each after a LayerNorm and added to its input."""

    def __init__(self, width: int, dropped: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Perceptron(width)
        self.dropped = dropped

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._some(self.attn(self.norm1(x)))
        return x + self._some(self.mlp(self.norm2(x)))

    def _some(self, branch: Tensor) -> Tensor:
        """In training, of some images nothing, and of the others more ("stochastic depth",
        arXiv:1603.09382).
        """
        if not self.training or self.dropped == 0:
            return branch
        kept = branch.new_empty(len(branch), 1, 1).bernoulli_(1 - self.dropped)
        return branch * kept / (1 - self.dropped)


class PatchEmbedding(nn.Module):
    """Images (n, 3, 112, 112) to their patches (n, 144, width)."""

    def __init__(self, width: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, stride=PATCH)

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return patches


class VisionTransformer(nn.Module):
    """`width`: values for each patch; `depth`: how many blocks."""

    def __init__(self, width: int, depth: int, embedding_size: int = 512):
        super().__init__()
        self.patch_embed = PatchEmbedding(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, PATCHES, width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(Block(width, DROPPED * index / (depth - 1)) for index in range(depth))
        self.norm = nn.LayerNorm(width)
        self.feature = nn.Sequential(
            nn.Linear(width * PATCHES, width, bias=False),
            nn.BatchNorm1d(width, eps=2e-5),
            nn.Linear(width, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size, eps=2e-5),
        )
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.mask_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x) + self.pos_embed
        if self.training:
            x, places = _unmasked(x)
        for block in self.blocks:
            x = block(x)
        with full_precision(x):
            x = self.norm(x.to(self.norm.weight.dtype))
            if self.training:
                x = self.mask_token.expand(len(x), PATCHES, -1).scatter(1, places, x)
            embedding: Tensor = self.feature(x.flatten(1))
        return embedding


def _unmasked(x: Tensor) -> tuple[Tensor, Tensor]:
    """The patches of each image that chance leaves, (n, left, width), and the places they had, alike."""
    left = int(PATCHES * (1 - MASKED))
    order = torch.rand(len(x), PATCHES, device=x.device).argsort(1)[:, :left]
    places = order[:, :, None].expand(-1, -1, x.shape[2])
    return x.gather(1, places), places
