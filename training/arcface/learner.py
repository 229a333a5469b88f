"""The network, the head and the optimizer: one training step, and all of it as plain tensors and back."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.arcface import hardware, optimizer, schedule
from training.arcface.augment.augmenter import Drawn
from training.arcface.backbones import EMBEDDING_SIZE, build
from training.arcface.distributed import World
from training.arcface.head import MarginHead
from training.arcface.margins import Margin
from training.arcface.rules import CentreRule
from training.arcface.settings import Settings

# Images at a time on a processor: all at once, the floats of a batch would pass through memory three times.
AT_ONCE = 32


def to_input(
    pixels: NDArray[Any],
    device: torch.device,
    flips: NDArray[Any] | None = None,
    changes: Drawn | None = None,
) -> Tensor:
    """uint8 (n, 112, 112, 3) to normalised float (n, 3, 112, 112) on the device.

    Mirrored where `flips`, (n,) bool, says, then changed as drawn. Bytes travel, not floats, and bytes are
    mirrored: that halves the time. The result is channels_last because the pixels are.
    """
    images = torch.from_numpy(pixels).to(device, non_blocking=True)
    made = torch.empty(images.shape, device=device)
    at_once = AT_ONCE if device.type == "cpu" else max(1, len(pixels))
    for start in range(0, len(pixels), at_once):
        few = slice(start, start + at_once)
        turned = images[few] if flips is None else _mirrored(images[few], flips[few])
        if changes is not None:
            turned = changes[few].apply(turned)
        made[few].copy_(turned).div_(127.5).sub_(1)
    return made.permute(0, 3, 1, 2)


def _mirrored(images: Tensor, flips: NDArray[Any]) -> Tensor:
    rows = torch.from_numpy(np.flatnonzero(flips)).to(images.device)
    return images.index_copy(0, rows, images[rows].flip(2))


class Learner:
    """What is learnt. `backbone` is the bare network; the state does not depend on the number of ranks.

    `averaged` is the moving average of its weights, where there is one: then that is what is verified and
    exported.
    """

    def __init__(
        self, backbone: nn.Module, classes: int, settings: Settings, world: World, *, compiled: bool
    ):
        self.settings, self.world = settings, world
        self.backbone: nn.Module = backbone.to(world.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.backbone).requires_grad_(False) if settings.ema else None
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
        self.weights = optimizer.trained(self.backbone)
        self.optimizer = optimizer.build(self.weights, settings)
        network: Any = torch.compile(self.backbone) if compiled else self.backbone
        self.network = DistributedDataParallel(network) if world.size > 1 else network
        self.dtype = hardware.precision(settings.precision, world.device)
        # fp16 loses gradients below 6e-8: they are scaled up on their way through the network.
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=self.dtype == torch.float16)

    # -- Learning ------------------------------------------------------------------------------------------

    def step(
        self,
        parts: Iterable[tuple[Tensor, Tensor]],
        step: int,
        rate: float,
        counts: Sequence[Sequence[int]] | None = None,
    ) -> Tensor:
        """Step 0, 1, … on this rank's images; the mean loss over all ranks', from before it, on the device.

        parts: (images (n, 3, 112, 112), labels (n,)) one after the other, so that no more of them than one
        need be on the device; they count by their images. counts: for each part the images of each rank
        (`Plan.counts`); without it the ranks tell each other.
        """
        if counts is None:
            parts = list(parts)
            counts = self._counts([len(labels) for _, labels in parts])
        images = sum(sum(part) for part in counts)
        self.backbone.train()
        self.optimizer.zero_grad()
        loss = torch.zeros((), device=self.world.device)
        for number, ((pixels, labels), count) in enumerate(zip(parts, counts, strict=True)):
            self.head.prepare(step, rate, number, len(counts))
            last = number == len(counts) - 1
            loss += self._learn_from(pixels, labels, count, sum(count) / images, last=last)
        self._update(step, rate)
        return loss

    def _learn_from(
        self, images: Tensor, labels: Tensor, count: Sequence[int], weight: float, *, last: bool
    ) -> Tensor:
        """Adds `weight` times the gradients of one part's mean loss; gives that times the loss.

        In two stages, so that the head never meets the scale of fp16's gradients.
        """
        with self._ranks_exchange(last):
            with self.autocast():
                embeddings = self.network(images)
            leaf = embeddings.detach().float().requires_grad_()
            loss: Tensor = self.head(leaf, labels, count) * weight
            loss.backward()  # type: ignore[no-untyped-call]
            gradient = self.scaler.scale(leaf.grad).to(embeddings.dtype)
            embeddings.backward(gradient)
        return loss.detach()

    def _ranks_exchange(self, last: bool) -> AbstractContextManager[object]:
        """Gradients once a step, after its last part."""
        if last or not isinstance(self.network, DistributedDataParallel):
            return nullcontext()
        return self.network.no_sync()

    def _update(self, step: int, rate: float) -> None:
        """With fp16 a step whose gradients overflowed moves no weight, and lowers the scale."""
        self.scaler.unscale_(self.optimizer)
        if self.settings.gradient_clip:
            nn.utils.clip_grad_norm_(self.weights.values(), self.settings.gradient_clip)
        optimizer.set_rate(self.optimizer, rate)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.averaged is not None:
            averages = [self.averaged.get_parameter(name) for name in self.weights]
            decay = schedule.average_decay(step, self.settings.ema)
            with torch.no_grad():
                torch._foreach_lerp_(averages, list(self.weights.values()), 1 - decay)

    def _counts(self, own: list[int]) -> list[list[int]]:
        ranks = self.world.gather_objects(own)
        return [list(part) for part in zip(*ranks, strict=True)]

    def autocast(self) -> torch.autocast:
        half = self.dtype != torch.float32
        return torch.autocast(self.world.device.type, self.dtype if half else None, enabled=half)

    # -- Using what is learnt ------------------------------------------------------------------------------

    @property
    def shown(self) -> nn.Module:
        """The network that is verified and exported."""
        return self.backbone if self.averaged is None else self.averaged

    @torch.no_grad()
    def embed(self, images: Tensor, network: nn.Module | None = None) -> Tensor:
        """Directions of the embeddings of each image and its mirror image together, (n, 512) float32.

        By the weights that are shown, or by another network.
        """
        network = self.shown if network is None else network
        network.eval()
        with self.autocast():
            both = network(images).float() + network(images.flip(3)).float()
        return nn.functional.normalize(both)

    @torch.no_grad()
    def estimate_statistics(self, batches: Iterable[Tensor]) -> None:
        """Sets BatchNorm's running statistics to those of these batches under the weights that are shown.

        The running averages remember weights of many steps ago, which in a short run were quite different:
        forty steps of MobileFaceNet verified at 82 % with them and at 91 % so; and averaged weights have none
        of their own. Source: "precise BatchNorm", Wu and Johnson 2021, arXiv:2105.07576.
        """
        kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
        layers = [layer for layer in self.shown.modules() if isinstance(layer, kinds)]
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over the batches
        self.shown.eval()  # nothing is dropped or masked: that would draw numbers which training draws next
        for layer in layers:
            layer.train()
        for images in batches:
            with self.autocast():
                self.shown(images)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

    def share_buffers(self) -> None:
        """Rank 0's BatchNorm statistics for all: it saves them, and the next step would take them anyway."""
        if self.world.size == 1:
            return
        for network in (self.backbone, self.averaged):
            for buffer in network.buffers() if network else ():
                torch.distributed.broadcast(buffer, src=0)

    def is_finite(self) -> bool:
        """Whether every weight is a number."""
        values = [*self.backbone.state_dict().values(), self.head.centres]
        return all(bool(value.isfinite().all()) for value in values)

    # -- State ---------------------------------------------------------------------------------------------

    def evaluated(self) -> dict[str, Tensor]:
        """What is verified and exported: a state dict of the backbone, as copies on the CPU."""
        return _copies(self.shown.state_dict())

    def load_evaluated(self, weights: Mapping[str, Tensor]) -> None:
        """Puts them into `backbone`, to be exported."""
        self.backbone.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """What every rank has alike, as copies on the CPU: training may go on while they are written."""
        return {
            "backbone": _copies(self.backbone.state_dict()),
            "optimizer": optimizer.moments(self.optimizer, self.weights),
            "ema": _copies(self.averaged.state_dict()) if self.averaged is not None else {},
            "scaler": self.scaler.state_dict(),
            "head": _copies(self.head.shared()),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undoes `state`. What its run had not, an average or a scale, starts from here."""
        self.backbone.load_state_dict(state["backbone"])
        optimizer.load_moments(self.optimizer, self.weights, state["optimizer"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["ema"] or state["backbone"])
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.head.load_shared(state["head"])

    def rows(self) -> dict[str, Tensor]:
        """This rank's rows of the head: the centres and their rule's moments, each (rows, d), not copied."""
        return self.head.rows()

    def load_rows(self, rows: Mapping[str, Tensor]) -> None:
        """Undoes `rows`."""
        self.head.load_rows(rows)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}


def fresh_backbone(settings: Settings) -> nn.Module:
    """The network with weights that the seed draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return build(settings.network)
