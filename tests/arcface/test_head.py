"""The blockwise margin softmax on one rank, against the whole matrix."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from tests.arcface import dense
from tests.arcface.dense import CLASSES, LABELS, MARGINS, MODES, SIZE, batch
from training.arcface.distributed import World
from training.arcface.head import MarginHead
from training.arcface.margins import Margin

ARCFACE = Margin(64.0, m2=0.5)


def head_of(margin: Margin, block: int = CLASSES, interclass_filter: float = 0.0) -> MarginHead:
    head = MarginHead(
        CLASSES, SIZE, margin, World(), seed=3, block=block, interclass_filter=interclass_filter
    )
    return head.double()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MARGINS)
def test_loss_and_gradients_equal_the_dense_ones(name: str, mode: str) -> None:
    margin, (embeddings, labels) = replace(MARGINS[name], **MODES[mode]), batch()
    for interclass_filter, block in ((0.0, 1), (0.2, 1), (0.2, 4), (0.0, 100)):
        head = head_of(margin, block, interclass_filter)
        mine, theirs = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
        centres = head.centres.clone().requires_grad_()
        loss, expected = head(mine, labels), dense.loss(theirs, centres, labels, margin, interclass_filter)
        torch.autograd.backward([loss, expected])
        assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=0, atol=1e-10)
        torch.testing.assert_close(head.centres.grad, centres.grad, rtol=0, atol=1e-10)


def test_the_examples_lie_on_both_sides_of_every_threshold() -> None:
    """Else the comparison above would say nothing of one side."""
    embeddings, labels = batch()
    cosines = normalize(embeddings) @ normalize(head_of(ARCFACE).centres).T
    angles = cosines[torch.arange(len(labels)), labels].acos()
    quality = dense.Norms().quality(embeddings)
    for beyond in (angles + 1.5 > math.pi, 3 * angles + 0.4 > 2 * math.pi, quality > 0, cosines > 0.2):
        assert beyond.any()
        assert not beyond.all()


def test_with_a_filter_no_class_above_it_counts() -> None:
    """A copy of the true class's centre, as where a person has two identities."""
    head = head_of(ARCFACE, interclass_filter=0.9)
    without = head_of(ARCFACE)
    for each in (head, without):
        each.centres[1:] = each.centres[0]
    embedding, label = head.centres[:1].clone().requires_grad_(), torch.tensor([0])
    assert head(embedding, label).item() == 0
    assert without(embedding, label).item() > 1


def test_smoothing_spreads_its_share_over_the_classes_that_are_left() -> None:
    head = head_of(Margin(1.0, m2=0.0, label_smoothing=0.5), interclass_filter=0.5)
    head.centres.copy_(torch.eye(CLASSES, SIZE, dtype=torch.float64))
    head.centres[2:] = head.centres[1]
    embedding = torch.tensor([[1.0, 1.0, *[0.0] * (SIZE - 2)]], dtype=torch.float64)
    assert head(embedding, torch.tensor([0])).item() == pytest.approx(0, abs=1e-12)


def test_at_an_angle_of_zero_the_gradient_is_finite() -> None:
    head = head_of(ARCFACE)
    embeddings = head.centres[:3].clone().requires_grad_()
    torch.autograd.backward(head(embeddings, torch.tensor([0, 1, 2])))
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()


def test_a_vector_of_zeros_neither_fails_nor_gives_nan() -> None:
    head = head_of(ARCFACE)
    embeddings = torch.zeros(2, SIZE, dtype=torch.float64, requires_grad=True)
    loss = head(embeddings, torch.tensor([0, 1]))
    torch.autograd.backward(loss)
    assert math.isfinite(loss.item())


def test_large_logits_do_not_overflow() -> None:
    head = head_of(Margin(1000.0, m2=0.5), 2).float()
    embeddings, labels = batch()
    assert math.isfinite(head(embeddings.float(), labels).item())


def test_evaluating_a_loss_leaves_the_norms_statistics_as_they_are() -> None:
    head = head_of(MARGINS["adaface"])
    before = {name: value.clone() for name, value in head.shared().items()}
    head(*batch())
    assert head.shared() == before
    head(batch()[0].requires_grad_(), LABELS)
    assert head.shared() != before


def test_the_centres_do_not_depend_on_the_number_of_ranks() -> None:
    whole = MarginHead(3000, 4, ARCFACE, World(), seed=7).centres
    shards = [MarginHead(3000, 4, ARCFACE, World(rank, 3), seed=7).centres for rank in range(3)]
    assert torch.equal(torch.cat(shards), whole)
    assert whole.std().item() == pytest.approx(0.01, rel=0.05)


def test_rows_and_shared_values_come_back() -> None:
    head, other = head_of(MARGINS["adaface"]), head_of(MARGINS["adaface"])
    head(batch()[0].requires_grad_(), LABELS)
    head.centres.add_(1)
    other.load_rows(head.rows())
    other.load_shared(head.shared())
    assert torch.equal(other.centres, head.centres)
    assert other.shared() == head.shared()
