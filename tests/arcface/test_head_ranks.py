"""Several ranks compute what one would, also where they have different numbers of images."""

import os
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from tests.arcface import dense
from tests.arcface.dense import CLASSES, MARGINS, MODES, SIZE, batch
from tests.arcface.processes import FORKS
from training.arcface.distributed import World
from training.arcface.head import MarginHead
from training.arcface.margins import Margin
from training.arcface.rules import Sgd

Found = dict[int, list[dict[Any, Any]]]  # by the number of ranks: what each of them got

SHARES = {1: (7,), 2: (5, 2), 3: (3, 1, 3), 4: (4, 0, 1, 2)}
# Each mode with its interclass filter.
CASES = tuple(zip(MODES, (0.0, 0.2, 0.2, 0.0), strict=True))
STEPS = 3
SMOOTHED = replace(MARGINS["combined"], label_smoothing=0.1)
RULE = Sgd(momentum=0.9, weight_decay=0.1)


def play(rank: int, world_size: int, folder: Path) -> None:
    """What a process does: each case on two ranks, then on three and four; what it got lies in the folder."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    for size in range(2, world_size + 1):
        if rank < size:
            distributed.init_process_group(
                "gloo", init_method=f"file://{folder}/meet-{size}", rank=rank, world_size=size
            )
            torch.save(results(World(rank, size)), folder / f"{size}-{rank}.pt")
            distributed.destroy_process_group()


def results(world: World) -> dict[Any, Any]:
    """By case: the loss and this rank's gradients; what `trained` and `sampled` give."""
    found: dict[Any, Any] = {}
    for name, (mode, threshold) in product(MARGINS, CASES):
        margin = replace(MARGINS[name], **MODES[mode])
        found[name, mode] = gradients(margin, threshold, world)
    return found | {"trained": trained(world), "sampled": sampled(world)}


def share(world: World) -> slice:
    before = sum(SHARES[world.size][: world.rank])
    return slice(before, before + SHARES[world.size][world.rank])


def gradients(margin: Margin, threshold: float, world: World) -> tuple[Tensor, ...]:
    embeddings, labels = (part[share(world)] for part in batch())
    mine = embeddings.clone().requires_grad_()
    head = MarginHead(CLASSES, SIZE, margin, world, seed=3, block=3, interclass_filter=threshold).double()
    loss = head(mine, labels)
    torch.autograd.backward(loss)
    assert mine.grad is not None
    assert head.centres.grad is not None
    # Times the ranks, because the mean that DistributedDataParallel takes divides by them.
    return loss.detach(), mine.grad / world.size, head.centres.grad


def trained(world: World) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The head after some steps of AdaFace, each of two parts: of four images and of three."""
    head = MarginHead(CLASSES, SIZE, MARGINS["adaface"], world, seed=3, block=2, rule=RULE).double()
    for step in range(STEPS):
        for part, images in enumerate((range(4), range(4, 7))):
            mine = images[slice(*world.shard(len(images)))]
            embeddings, labels = (rows[mine.start : mine.stop] for rows in batch())
            head.prepare(step, 0.1, part, 2)
            torch.autograd.backward(head(embeddings.requires_grad_(), labels) * len(images) / 7)
    return head.rows(), head.shared()


def sampled(world: World) -> tuple[Tensor, Tensor]:
    """The loss against a few of the classes, and which of this rank's these were."""
    embeddings, labels = (part[share(world)] for part in batch())
    head = MarginHead(CLASSES, SIZE, SMOOTHED, world, seed=3, sample_rate=0.3).double()
    head.prepare(5, 0.0)
    rows = [span.take(torch.arange(CLASSES)) for span in head.spans(batch()[1] - head.first)]
    return head(embeddings, labels), torch.cat(rows) + head.first


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("ranks")
    processes = [FORKS.Process(target=play, args=(rank, 4, folder)) for rank in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    saved = {size: [torch.load(folder / f"{size}-{rank}.pt") for rank in range(size)] for size in (2, 3, 4)}
    return saved | {1: [results(World())]}


@pytest.mark.parametrize("ranks", SHARES)
@pytest.mark.parametrize("name", MARGINS)
def test_on_any_number_of_ranks_loss_and_gradients_equal_the_dense_ones(
    name: str, ranks: int, found: Found
) -> None:
    for mode, threshold in CASES:
        margin, (embeddings, labels) = replace(MARGINS[name], **MODES[mode]), batch()
        centres = MarginHead(CLASSES, SIZE, margin, World(), seed=3).double().centres.requires_grad_()
        expected = dense.loss(embeddings.requires_grad_(), centres, labels, margin, threshold)
        torch.autograd.backward(expected)
        got = [each[name, mode] for each in found[ranks]]
        losses, by_embedding, by_centre = zip(*got, strict=True)
        assert [loss.item() for loss in losses] == pytest.approx([expected.item()] * ranks, abs=1e-10)
        torch.testing.assert_close(torch.cat(by_embedding), embeddings.grad, rtol=0, atol=1e-10)
        torch.testing.assert_close(torch.cat(by_centre), centres.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_after_several_steps_any_number_of_ranks_has_the_same_head(ranks: int, found: Found) -> None:
    [(alone, statistics)] = [each["trained"] for each in found[1]]
    rows, shared = zip(*(each["trained"] for each in found[ranks]), strict=True)
    for name, expected in alone.items():
        together = torch.cat([each[name] for each in rows])
        torch.testing.assert_close(together, expected, rtol=0, atol=1e-10)
    for each in shared:
        assert each == shared[0]
        torch.testing.assert_close(each, statistics)


@pytest.mark.parametrize("ranks", SHARES)
def test_with_sampling_the_loss_is_that_of_all_ranks_samples(ranks: int, found: Found) -> None:
    losses, samples = zip(*(each["sampled"] for each in found[ranks]), strict=True)
    classes, (embeddings, labels) = torch.cat(samples), batch()
    assert len(classes) < CLASSES
    centres = MarginHead(CLASSES, SIZE, SMOOTHED, World(), seed=3).double().centres[classes]
    expected = dense.loss(embeddings, centres, torch.searchsorted(classes, labels), SMOOTHED).item()
    assert [loss.item() for loss in losses] == pytest.approx([expected] * ranks, abs=1e-10)
