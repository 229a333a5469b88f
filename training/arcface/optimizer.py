"""The optimizer of the network's weights, and its moments by the weights' names."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.arcface.settings import Settings

Weights = Mapping[str, nn.Parameter]  # by name

ADAM_SECOND_BETA, ADAM_EPSILON = 0.999, 1e-8  # torch's own defaults


def trained(network: nn.Module) -> dict[str, nn.Parameter]:
    """What is learnt: `features.weight` of the arcface_torch networks, for one, is fixed."""
    return {name: value for name, value in network.named_parameters() if value.requires_grad}


def build(weights: Weights, settings: Settings) -> torch.optim.Optimizer:
    """SGD decays every weight, as arcface_torch does. AdamW spares what `is_decayed` spares."""
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            weights.values(),
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
    decayed = [value for name, value in weights.items() if is_decayed(name, value)]
    spared = [value for name, value in weights.items() if not is_decayed(name, value)]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": spared, "weight_decay": 0.0}],
        lr=settings.lr,
        betas=(settings.momentum, ADAM_SECOND_BETA),
        eps=ADAM_EPSILON,
    )


def is_decayed(name: str, weight: Tensor) -> bool:
    """Not biases, norms and PReLU slopes, nor a ViT's positions and tokens: they scale and shift, and nothing
    is gained by drawing them to 0 (the usual choice; Touvron et al. 2021, arXiv:2012.12877).
    """
    return weight.dim() > 1 and not any(word in name for word in ("pos_embed", "token"))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def moments(optimizer: torch.optim.Optimizer, weights: Weights) -> dict[str, dict[str, Tensor]]:
    """For each weight by name: SGD's momentum, or AdamW's averages and count. Copies on the CPU."""
    return {
        name: {key: value.detach().to("cpu", copy=True) for key, value in optimizer.state[weight].items()}
        for name, weight in weights.items()
    }


def load_moments(
    optimizer: torch.optim.Optimizer, weights: Weights, found: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Undoes `moments`."""
    for name, weight in weights.items():
        optimizer.state[weight] = {key: _placed(value, weight) for key, value in found[name].items()}


def _placed(value: Tensor, weight: nn.Parameter) -> Tensor:
    """A copy in the weight's own memory layout, or sums over it would round differently than before."""
    if value.dim() == 0:  # AdamW's count of steps stays on the CPU
        return value.clone()
    return torch.empty_like(weight).detach().copy_(value)
