"""The blockwise margin softmax against the whole matrix in float64, differentiated by autograd."""

import math

import pytest
import torch
from torch import Tensor

from training.arcface.distributed import World
from training.arcface.head import MarginHead
from training.arcface.margins import Margin

CLASSES, IMAGES, SIZE = 11, 6, 8


def head_of(margin: Margin, block: int) -> MarginHead:
    return MarginHead(CLASSES, SIZE, margin, World(), seed=3, block=block).double()


def batch(spread: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    embeddings = torch.randn(IMAGES, SIZE, generator=generator, dtype=torch.float64) * spread
    return embeddings, torch.tensor([0, 10, 4, 4, 7, 2])


def dense_loss(embeddings: Tensor, centres: Tensor, labels: Tensor, margin: Margin) -> Tensor:
    """As the paper writes it; angles are real angles here, so autograd gives the exact derivative."""
    cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(centres).T
    rows = torch.arange(len(labels))
    own = cosines[rows, labels]
    angle = own.acos() + margin.m2
    with_margin = torch.where(angle < math.pi, angle.cos(), own - margin.m2 * math.sin(margin.m2))
    if margin.straight_through:
        with_margin = own + (with_margin - own).detach()
    logits = cosines.clone()
    logits[rows, labels] = with_margin
    smoothing = margin.label_smoothing
    return torch.nn.functional.cross_entropy(logits * margin.scale, labels, label_smoothing=smoothing)


MARGINS = {
    "arcface": Margin(64.0, m2=0.5),
    "straight through": Margin(64.0, m2=0.5, straight_through=True),
    "smoothed": Margin(16.0, m2=0.3, label_smoothing=0.1),
    "no margin": Margin(30.0, m2=0.0),
    "wide margin": Margin(8.0, m2=1.5),
    "wide, smoothed, straight through": Margin(8.0, m2=1.5, straight_through=True, label_smoothing=0.2),
}


@pytest.mark.parametrize("block", [1, 4, CLASSES, 100])
@pytest.mark.parametrize("name", MARGINS)
def test_loss_and_gradients_equal_the_dense_ones(name: str, block: int) -> None:
    margin, (embeddings, labels) = MARGINS[name], batch()
    head = head_of(margin, block)
    mine = embeddings.clone().requires_grad_()
    loss = head(mine, labels)
    torch.autograd.backward(loss)
    theirs = embeddings.clone().requires_grad_()
    centres = head.centres.detach().clone().requires_grad_()
    expected = dense_loss(theirs, centres, labels, margin)
    torch.autograd.backward(expected)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=0, atol=1e-10)
    torch.testing.assert_close(head.centres.grad, centres.grad, rtol=0, atol=1e-10)


def test_beyond_pi_the_wide_margin_examples_are_really_there() -> None:
    """Else the comparison above would say nothing of that side."""
    embeddings, labels = batch()
    head = head_of(MARGINS["wide margin"], CLASSES)
    cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(head.centres).T
    beyond = cosines[torch.arange(IMAGES), labels].acos() + 1.5 > math.pi
    assert beyond.any()
    assert not beyond.all()


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.5])
def test_a_larger_angle_never_scores_higher(margin: float) -> None:
    cosines = torch.linspace(1, -1, 10_001, dtype=torch.float64)
    values, slopes = Margin(1.0, m2=margin).target(cosines, torch.zeros_like(cosines))
    assert (values.diff() < 0).all()
    assert (slopes > 0).all()


def test_at_an_angle_of_zero_the_gradient_is_finite() -> None:
    head = head_of(Margin(64.0, m2=0.5), CLASSES)
    embeddings = head.centres.detach()[:3].clone().requires_grad_()
    torch.autograd.backward(head(embeddings, torch.tensor([0, 1, 2])))
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()


def test_a_vector_of_zeros_neither_fails_nor_gives_nan() -> None:
    head = head_of(Margin(64.0, m2=0.5), CLASSES)
    embeddings = torch.zeros(2, SIZE, dtype=torch.float64, requires_grad=True)
    loss = head(embeddings, torch.tensor([0, 1]))
    torch.autograd.backward(loss)
    assert math.isfinite(loss.item())


def test_large_logits_do_not_overflow() -> None:
    head = head_of(Margin(1000.0, m2=0.5), 2).float()
    embeddings, labels = batch()
    assert math.isfinite(head(embeddings.float(), labels).item())
