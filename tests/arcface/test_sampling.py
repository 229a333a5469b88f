"""A step may compare with a part of the classes: which, and what becomes of the others."""

import pytest
import torch
from torch import Tensor

from tests.arcface import dense
from tests.arcface.dense import MARGINS, SIZE, batch
from training.arcface.centres import Sampling, Span
from training.arcface.distributed import World
from training.arcface.head import MarginHead
from training.arcface.rules import AdamW, CentreRule, Sgd

ROWS, BLOCK = 100, 8
LABELS = torch.tensor([3, 99, 41, 41, -5, 100])  # the last two are other ranks' classes
OWN = {3, 41, 99}


def sample(
    step: int = 0, labels: Tensor = LABELS, rate: float = 0.2, seed: int = 0, rank: int = 0
) -> list[int]:
    spans = Sampling(rate, seed, rank).spans(torch.empty(ROWS, 1), BLOCK, labels, step)
    return [int(row) for span in spans for row in span.take(torch.arange(ROWS))]


def test_the_same_step_draws_the_same_sample() -> None:
    assert sample(step=7) == sample(step=7)


@pytest.mark.parametrize("other", [sample(step=8), sample(step=7, seed=1), sample(step=7, rank=1)])
def test_another_step_seed_or_rank_draws_another(other: list[int]) -> None:
    assert other != sample(step=7)


@pytest.mark.parametrize("step", range(20))
def test_the_images_own_classes_are_always_in_it(step: int) -> None:
    assert set(sample(step)) >= OWN


@pytest.mark.parametrize("rate", [0.031, 0.2, 0.5, 0.99])
def test_it_is_the_share_of_the_rows_that_was_asked_for(rate: float) -> None:
    assert len(set(sample(rate=rate))) == len(sample(rate=rate)) == int(rate * ROWS)


def test_it_is_the_images_classes_alone_where_these_are_more() -> None:
    assert sample(labels=torch.arange(50), rate=0.01) == list(range(50))


def test_over_many_steps_every_class_comes_as_often() -> None:
    counts = torch.zeros(ROWS)
    for step in range(500):
        counts[sample(step, labels=LABELS[4:])] += 1
    assert counts.min().item() > 60
    assert counts.max().item() < 140


def head_of(rule: CentreRule | None = None, world: World | None = None) -> MarginHead:
    """Whose batches are of 7 images of 6 classes."""
    margin = MARGINS["combined"]
    return MarginHead(
        ROWS, SIZE, margin, world or World(), seed=3, block=BLOCK, sample_rate=0.2, rule=rule
    ).double()


def rows_of(head: MarginHead, step: int, labels: Tensor) -> Tensor:
    head.prepare(step, 0.0)
    return torch.cat([span.take(torch.arange(ROWS)) for span in head.spans(labels)])


def test_the_loss_and_its_gradient_are_those_of_the_sampled_classes() -> None:
    head, (embeddings, labels) = head_of(), batch()
    rows = rows_of(head, 5, labels)
    mine, theirs = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    loss = head(mine, labels)
    expected = dense.loss(theirs, head.centres[rows], torch.searchsorted(rows, labels), head.margin)
    torch.autograd.backward([loss, expected])
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rule", [Sgd(0.9, 0.1), AdamW(0.9, 0.1)])
@pytest.mark.parametrize("parts", [1, 2])
def test_rows_that_are_not_sampled_keep_all_they_have(rule: CentreRule, parts: int) -> None:
    head, (embeddings, labels) = head_of(rule), batch()
    sampled: set[int] = set()
    before: dict[str, Tensor] = {}
    for step in range(3):
        before = {name: values.clone() for name, values in head.rows().items()}
        sampled = set()
        for part in range(parts):
            head.prepare(step, 0.1, part, parts)
            mine = labels[part::parts]
            sampled |= {int(row) for span in head.spans(mine) for row in span.take(torch.arange(ROWS))}
            torch.autograd.backward(head(embeddings[part::parts].clone().requires_grad_(), mine))
    for name, values in head.rows().items():
        changed = (values != before[name]).any(1).nonzero().squeeze(1)
        assert set(changed.tolist()) == sampled


def test_a_rank_with_few_classes_and_none_of_the_images_compares_with_none() -> None:
    assert list(Sampling(0.1, 0, 0).spans(torch.empty(3, 1), BLOCK, LABELS[4:], 0)) == []


def test_the_rows_of_a_span_that_are_chosen() -> None:
    chosen = torch.tensor([True, False, True, True])
    index = torch.tensor([0, 1, 3])
    assert Span(1, 4).where(chosen).take(torch.arange(4)).tolist() == [2, 3]
    assert Span(0, 4, index).where(chosen).take(torch.arange(4)).tolist() == [0, 3]
