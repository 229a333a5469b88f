"""Ranks in processes of their own, joined by gloo, make the steps that one rank makes."""

import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed

from tests.arcface import processes
from tests.arcface.test_learner import batch, learner_of
from training.arcface.distributed import World
from training.arcface.plan import Plan
from training.arcface.schedule import cuts
from training.arcface.settings import Settings

IMAGES = 13
STEPS = 3
PLANNED = Settings(precision="fp32", optimizer="adamw", lr=1e-3, batch_size=4)


def steps_of(world: World) -> dict[str, Tensor]:
    """What a learner has learnt from its share of each batch, cut as the plan says."""
    plan = Plan.make(1000, PLANNED, world, batch=IMAGES)
    learner = learner_of(world=world, optimizer=PLANNED.optimizer)
    losses = []
    for step in range(STEPS):
        images, labels = (one[slice(*world.shard(IMAGES))] for one in batch(IMAGES, seed=step))
        sizes = [counts[world.rank] for counts in plan.counts(world.size)]
        assert list(torch.tensor([0, *sizes]).cumsum(0)) == cuts(len(labels), plan.parts)
        parts = zip(torch.split(images, sizes), torch.split(labels, sizes), strict=True)
        losses.append(learner.step(parts, step, PLANNED.lr, plan.counts(world.size)))
    rows = learner.head.centres
    centres = world.gather(rows, world.row_counts(len(rows)))
    return {"losses": torch.stack(losses), "centres": centres, **learner.backbone.state_dict()}


def play(rank: int, ranks: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=ranks)
    torch.save(steps_of(World(rank, ranks)), folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_with_uneven_shares_in_parts_make_the_steps_of_one_rank(ranks: int, tmp_path: Path) -> None:
    assert processes  # its import tells the server of forks what to load
    context = multiprocessing.get_context("forkserver")
    players = [context.Process(target=play, args=(rank, ranks, tmp_path)) for rank in range(ranks)]
    for player in players:
        player.start()
    for player in players:
        player.join(120)
    expected = steps_of(World())
    for rank in range(ranks):
        found = torch.load(tmp_path / f"{rank}.pt")
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)
