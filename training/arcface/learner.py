"""The network, the head and the optimizer: one training step, and all of it as plain tensors and back."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.arcface import hardware
from training.arcface.backbones import EMBEDDING_SIZE, build
from training.arcface.distributed import World
from training.arcface.head import MarginHead
from training.arcface.margins import Margin
from training.arcface.rules import CentreRule
from training.arcface.settings import Settings


def to_input(pixels: NDArray[Any], device: torch.device, flips: NDArray[Any] | None = None) -> Tensor:
    """uint8 (n, 112, 112, 3) to normalised float (n, 3, 112, 112) on the device.

    Mirrored there where `flips`, (n,) bool, says. Bytes travel, not floats; the result is channels_last
    because the pixels are.
    """
    images = torch.from_numpy(pixels).to(device, non_blocking=True).permute(0, 3, 1, 2)
    images = images.float().div_(127.5).sub_(1)
    if flips is None:
        return images
    mirrored = torch.from_numpy(flips).to(device)[:, None, None, None]
    return torch.where(mirrored, images.flip(3), images)


class Learner:
    """What is learnt. `backbone` is the bare network; the state does not depend on the number of ranks."""

    def __init__(
        self, backbone: nn.Module, classes: int, settings: Settings, world: World, *, compiled: bool
    ):
        self.settings, self.world = settings, world
        self.backbone = backbone.to(world.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = MarginHead(
            classes,
            EMBEDDING_SIZE,
            Margin.from_settings(settings),
            world,
            seed=settings.seed,
            sample_rate=settings.sample_rate,
            interclass_filter=settings.interclass_filter,
            rule=CentreRule.from_settings(settings),
        ).to(world.device)
        self.optimizer = torch.optim.SGD(
            self._weights().values(),
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        network: Any = torch.compile(self.backbone) if compiled else self.backbone
        self.network = DistributedDataParallel(network) if world.size > 1 else network
        self.dtype = hardware.precision(settings.precision, world.device)

    def step(self, images: Tensor, labels: Tensor, rate: float) -> Tensor:
        """One step on this rank's images; the mean loss of all ranks, from before the step, on the device."""
        self.backbone.train()
        with self.autocast():
            embeddings = self.network(images)
        self.head.prepare(0, rate)
        loss: Tensor = self.head(embeddings.float(), labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.settings.gradient_clip:
            nn.utils.clip_grad_norm_(self._weights().values(), self.settings.gradient_clip)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Directions of the embeddings of each image and its mirror image together, (n, 512) float32."""
        self.backbone.eval()
        with self.autocast():
            both = self.backbone(images).float() + self.backbone(images.flip(3)).float()
        return nn.functional.normalize(both)

    @torch.no_grad()
    def estimate_statistics(self, batches: Iterable[Tensor]) -> None:
        """Sets BatchNorm's running statistics to those of these batches under the present weights.

        The running averages remember weights of many steps ago, which in a short run were quite different:
        forty steps of MobileFaceNet verified at 82 % with them and at 91 % so. Source: "precise BatchNorm",
        Wu and Johnson 2021, arXiv:2105.07576.
        """
        kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
        layers = [layer for layer in self.backbone.modules() if isinstance(layer, kinds)]
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over the batches
        self.backbone.train()
        for images in batches:
            with self.autocast():
                self.backbone(images)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

    def autocast(self) -> torch.autocast:
        return torch.autocast(
            self.world.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16, cache_enabled=True
        )

    def _weights(self) -> dict[str, nn.Parameter]:
        return {name: value for name, value in self.backbone.named_parameters() if value.requires_grad}

    def share_buffers(self) -> None:
        """Rank 0's BatchNorm statistics for all: it saves them, and the next step would take them anyway."""
        for name, buffer in self.backbone.named_buffers():
            if self.world.size > 1 and name:
                torch.distributed.broadcast(buffer, src=0)

    def state(self) -> dict[str, Any]:
        """What every rank has alike, as copies on the CPU: training may go on while they are written."""
        backbone = {key: _copy(value) for key, value in self.backbone.state_dict().items()}
        moments = {
            name: {key: _copy(value) for key, value in self.optimizer.state[weight].items()}
            for name, weight in self._weights().items()
        }
        shared = {name: _copy(value) for name, value in self.head.shared().items()}
        return {"backbone": backbone, "optimizer": moments, "head": shared}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undoes `state`."""
        self.backbone.load_state_dict(state["backbone"])
        for name, weight in self._weights().items():
            self._load_moments(weight, state["optimizer"][name])
        self.head.load_shared(state["head"])

    def rows(self) -> dict[str, Tensor]:
        """This rank's rows of the head: the centres and their rule's moments, each (rows, d)."""
        return self.head.rows()

    def load_rows(self, rows: Mapping[str, Tensor]) -> None:
        """Undoes `rows`."""
        self.head.load_rows(rows)

    def _load_moments(self, weight: nn.Parameter, moments: Mapping[str, Tensor]) -> None:
        # A copy in the weight's own memory layout, or sums over it would round differently than before.
        self.optimizer.state[weight] = {
            key: torch.empty_like(weight).copy_(value) for key, value in moments.items()
        }


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def fresh_backbone(settings: Settings) -> nn.Module:
    """The network with weights that the seed draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return build(settings.network)
