"""The margin softmax over many classes, by blocks against plain autograd: seconds and memory of a step.

Plain autograd is what training code without blocks does: the matrix of all cosines, its margin, cross
entropy, `backward` and torch.optim.SGD. Each runs in a process of its own, so that the most memory it ever
held is its own; they take turns, so that a busy machine slows both alike. Another size is measured by
`python -m bench.head CLASSES BATCH`.
"""

import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from training.arcface.centres import draw
from training.arcface.distributed import World
from training.arcface.head import MarginHead
from training.arcface.margins import Margin
from training.arcface.rules import Sgd

CLASSES, BATCH, SIZE = 200_000, 512, 512
STEPS, ROUNDS = 2, 2  # of each process, after one step that is not counted; processes of each kind
RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4
MIB = 2**20

Step = Callable[[Tensor, Tensor], Tensor]  # embeddings and labels to the loss


@dataclass(frozen=True)
class Measured:
    """By one process: seconds of each step, and the most bytes beyond centres and momentum; the last loss."""

    seconds: list[float]
    beyond: int
    loss: float


def main(classes: int = CLASSES, batch: int = BATCH) -> None:
    found: dict[str, list[Measured]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind, measured in found.items():
            measured.append(process(kind, classes, batch))
    held = 2 * classes * SIZE * 4 / 2**30
    print(
        f"  {classes:,} classes, batch {batch}, {SIZE} numbers each, fp32, {torch.get_num_threads()} threads;"
    )
    print(f"  centres and momentum take {held:.2f} GiB in each")
    for kind, measured in found.items():
        seconds = statistics.median(second for each in measured for second in each.seconds)
        beyond = max(each.beyond for each in measured) / MIB
        print(
            f"  {kind:24} {seconds:8.2f} s a step {beyond:9.0f} MiB beyond them   loss {measured[0].loss:.4f}"
        )


def process(kind: str, classes: int, batch: int) -> Measured:
    command = [sys.executable, "-m", "bench.head", kind, str(classes), str(batch)]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True, text=True)
    return Measured(**json.loads(done.stdout))


# -- In a process of its own -------------------------------------------------------------------------------


def measure(kind: str, classes: int, batch: int) -> Measured:
    step = KINDS[kind](classes)
    source = torch.Generator().manual_seed(1)
    embeddings = torch.randn(batch, SIZE, generator=source)
    labels = torch.randint(classes, (batch,), generator=source)
    before, seconds, loss = peak_bytes(), [], math.nan
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        loss = step(embeddings.clone().requires_grad_(), labels).item()
        seconds.append(time.perf_counter() - start)
    return Measured(seconds[1:], peak_bytes() - before, loss)


def peak_bytes() -> int:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def plain(classes: int) -> Step:
    centres = draw(0, classes, SIZE, seed=0).requires_grad_()
    optimizer = torch.optim.SGD([centres], lr=RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    optimizer.state[centres]["momentum_buffer"] = torch.zeros_like(centres)
    optimizer.state[centres]["momentum_buffer"].add_(0)  # touched, so that it counts as held
    margin = Margin()

    def step(embeddings: Tensor, labels: Tensor) -> Tensor:
        cosines = normalize(embeddings) @ normalize(centres).T
        own = torch.arange(len(labels)), labels
        angle = cosines[own].clamp(-1 + 1e-6, 1 - 1e-6).acos() + margin.m2
        beyond = cosines[own] - margin.m2 * math.sin(margin.m2)
        with_margin = torch.where(angle < math.pi, angle.cos(), beyond)
        loss = cross_entropy(cosines.index_put(own, with_margin) * margin.scale, labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()

    return step


def by_blocks(classes: int, sample_rate: float = 1.0) -> Step:
    rule = Sgd(MOMENTUM, WEIGHT_DECAY)
    head = MarginHead(classes, SIZE, Margin(), World(), sample_rate=sample_rate, rule=rule)
    for rows in head.rows().values():
        rows.add_(0)  # touched, so that it counts as held
    steps = iter(range(10**6))

    def step(embeddings: Tensor, labels: Tensor) -> Tensor:
        head.prepare(next(steps), RATE)
        loss: Tensor = head(embeddings, labels)
        torch.autograd.backward(loss)
        return loss.detach()

    return step


KINDS: dict[str, Callable[[int], Step]] = {
    "plain autograd": plain,
    "by blocks": by_blocks,
    "by blocks, a tenth of them": lambda classes: by_blocks(classes, 0.1),
}


def run(arguments: Sequence[str]) -> None:
    if arguments and arguments[0] in KINDS:
        print(json.dumps(asdict(measure(arguments[0], int(arguments[1]), int(arguments[2])))))
    else:
        main(*(int(argument) for argument in arguments))


if __name__ == "__main__":
    run(sys.argv[1:])
