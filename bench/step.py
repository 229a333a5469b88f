"""A training step of r18 and mbf on this machine's processors: ours beside the plain fp32 step.

The plain one is how such networks are trained without further thought: the same network of nn.Conv2d,
nn.PReLU and nn.BatchNorm2d in fp32, contiguous, with cross-entropy over the whole batch x classes and SGD of
torch. Ours is the Learner's step with its defaults: bf16 where the processor has it, channels_last, our head,
compiled or not. All take turns, so that a busy machine slows them alike; the medians are compared.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.arcface.backbones import build
from training.arcface.distributed import World
from training.arcface.hardware import precision
from training.arcface.layers import Conv2d, PReLU
from training.arcface.learner import Learner, fresh_backbone
from training.arcface.settings import Settings

BATCHES = {"r18": 32, "mbf": 64}
CLASSES, ROUNDS = 1000, 4
RATIO_LIMIT = 3.0
PLAIN, EAGER, COMPILED = "plain fp32", "ours", "ours, compiled"

Step = Callable[[Tensor, Tensor], object]


@dataclass
class Contender:
    """One way to make a step, on images in the layout that it is fed."""

    step: Step
    images: Tensor
    first: float = 0.0  # seconds of the first step, with the compilation
    seconds: list[float] = field(default_factory=list)

    def run(self, labels: Tensor) -> float:
        started = time.perf_counter()
        self.step(self.images, labels)
        return time.perf_counter() - started


def main() -> None:
    settings = Settings()
    dtype = str(precision("auto", torch.device("cpu"))).removeprefix("torch.")
    print(
        f"  threads={torch.get_num_threads()} precision={dtype} classes={CLASSES}, medians of {ROUNDS} steps"
    )
    for network, batch in BATCHES.items():
        show(network, batch, measure(network, batch, settings))


def measure(network: str, batch: int, settings: Settings) -> dict[str, Contender]:
    torch.manual_seed(0)
    images, labels = torch.rand(batch, 3, 112, 112) * 2 - 1, torch.randint(CLASSES, (batch,))
    pixels_last = images.contiguous(memory_format=torch.channels_last)
    contenders = {
        PLAIN: Contender(plain_step(network, settings), images),
        EAGER: Contender(our_step(network, compiled=False), pixels_last),
        COMPILED: Contender(our_step(network, compiled=True), pixels_last),
    }
    for contender in contenders.values():
        contender.first = contender.run(labels)
        contender.run(labels)
    for _ in range(ROUNDS):
        for contender in contenders.values():
            contender.seconds.append(contender.run(labels))
    return contenders


def show(network: str, batch: int, contenders: dict[str, Contender]) -> None:
    medians = {name: statistics.median(contender.seconds) for name, contender in contenders.items()}
    for name, seconds in medians.items():
        limit = f"(limit {RATIO_LIMIT:g}, the better counts)" if name != PLAIN else ""
        ratio = medians[PLAIN] / seconds
        print(f"  {network} batch={batch} {name:15} {batch / seconds:7.1f} images/s  {ratio:5.2f} x {limit}")
    gain = (medians[EAGER] - medians[COMPILED]) / batch
    compiling = contenders[COMPILED].first - medians[COMPILED]
    pays = f"pays after {compiling / gain:,.0f} images" if gain > 0 else "does not pay"
    print(f"  {network} compiling takes {compiling:.0f} s and {pays}", flush=True)


# -- Ours --------------------------------------------------------------------------------------------------


def our_step(network: str, *, compiled: bool) -> Step:
    settings = Settings(network=network)
    learner = Learner(fresh_backbone(settings), CLASSES, settings, World(), compiled=compiled)
    return lambda images, labels: learner.step([(images, labels)], 0, settings.lr)


# -- Plain -------------------------------------------------------------------------------------------------


def plain_step(network: str, settings: Settings) -> Step:
    """The margin is ArcFace's by the angle itself."""
    backbone = plain(build(network)).train()
    centres = nn.Parameter(torch.randn(CLASSES, 512) * 0.01)
    weights = [weight for weight in backbone.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(
        [*weights, centres], settings.lr, settings.momentum, weight_decay=settings.weight_decay
    )

    def step(images: Tensor, labels: Tensor) -> float:
        cosines = functional.linear(functional.normalize(backbone(images)), functional.normalize(centres))
        own = functional.one_hot(labels, CLASSES).bool()
        angles = cosines.clamp(-0.999, 0.999).acos()
        logits = torch.where(own, angles + settings.margin, angles).cos() * settings.scale
        loss = functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, settings.gradient_clip)
        optimizer.step()
        return loss.item()

    return step


def plain(network: nn.Module) -> nn.Module:
    """The same network and weights with torch's own layers in place of ours."""
    own: dict[type[nn.Module], type[nn.Module]] = {PReLU: nn.PReLU, Conv2d: nn.Conv2d}
    for module in network.modules():
        module.__class__ = own.get(type(module), type(module))
    return network
