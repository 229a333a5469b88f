"""The backward pass moves the centres exactly as torch's optimizers would with the dense gradient."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tests.arcface.dense import CLASSES, MARGINS, SIZE, batch
from training.arcface.centres import Sampling
from training.arcface.distributed import World
from training.arcface.head import MarginHead
from training.arcface.rules import AdamW, CentreRule, Sgd
from training.arcface.settings import Settings

RATES = (0.1, 0.2, 0.05, 0.025)
RULES: dict[str, CentreRule] = {
    "sgd": Sgd(0.9, 0.1),
    "sgd without momentum or decay": Sgd(0.0, 0.0),
    "adamw": AdamW(0.9, 0.1),
}


def head_of(rule: CentreRule | None, sample_rate: float = 1.0) -> MarginHead:
    return MarginHead(
        CLASSES, SIZE, MARGINS["combined"], World(), seed=3, block=4, rule=rule, sample_rate=sample_rate
    ).double()


def optimizer(rule: CentreRule, centres: Tensor) -> torch.optim.Optimizer:
    if isinstance(rule, AdamW):
        return torch.optim.AdamW([centres], betas=(rule.beta1, 0.999), weight_decay=rule.weight_decay)
    assert isinstance(rule, Sgd)
    return torch.optim.SGD([centres], momentum=rule.momentum, weight_decay=rule.weight_decay)


def parts_of_batch(parts: int) -> list[tuple[Tensor, Tensor, float]]:
    """Embeddings, labels and the share of the batch that each part is; the parts differ in size."""
    embeddings, labels = batch()
    bounds = [0, 7] if parts == 1 else [0, 4, 6, 7]
    return [(embeddings[a:b], labels[a:b], (b - a) / 7) for a, b in pairwise(bounds)]


def backward(head: MarginHead, part: tuple[Tensor, Tensor, float]) -> None:
    embeddings, labels, share = part
    torch.autograd.backward(head(embeddings.clone().requires_grad_(), labels) * share)


def train(head: MarginHead, parts: int) -> MarginHead:
    for step, rate in enumerate(RATES):
        for number, part in enumerate(parts_of_batch(parts)):
            head.prepare(step, rate, number, len(parts_of_batch(parts)))
            backward(head, part)
    return head


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("name", RULES)
def test_centres_move_as_under_torchs_optimizer(name: str, parts: int) -> None:
    rule = RULES[name]
    head, reference = train(head_of(rule), parts), head_of(None)
    theirs = optimizer(rule, reference.centres)
    for rate in RATES:
        theirs.zero_grad()
        for part in parts_of_batch(parts):
            backward(reference, part)
        theirs.param_groups[0]["lr"] = rate
        theirs.step()
    torch.testing.assert_close(head.centres, reference.centres, rtol=0, atol=1e-10)
    for moment, values in head.rows().items():
        if moment in theirs.state[reference.centres]:
            expected = theirs.state[reference.centres][moment]
            if expected is not None:
                torch.testing.assert_close(values, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", RULES)
def test_in_one_part_the_movement_is_torchs_bit_for_bit(name: str) -> None:
    rule = RULES[name]
    head, reference = head_of(rule).float(), head_of(None).float()
    theirs = optimizer(rule, reference.centres)
    embeddings, labels = batch()
    for step, rate in enumerate(RATES):
        head.prepare(step, rate)
        theirs.zero_grad()
        for each in (head, reference):
            backward(each, (embeddings.float(), labels, 1.0))
        theirs.param_groups[0]["lr"] = rate
        theirs.step()
        assert torch.equal(head.centres, reference.centres)


@pytest.mark.parametrize("name", RULES)
def test_at_a_rate_of_one_sampling_changes_nothing(name: str) -> None:
    head, sampled = head_of(RULES[name]), head_of(RULES[name], sample_rate=0.5)
    sampled.sampling = Sampling(1.0, seed=0, rank=0)
    for parts in (1, 3):
        train(head, parts)
        train(sampled, parts)
    assert len(head.rows()) >= 2
    for moment, values in head.rows().items():
        torch.testing.assert_close(sampled.rows()[moment], values, rtol=0, atol=1e-10)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("name", RULES)
def test_a_loss_that_is_no_number_moves_no_centre(name: str, parts: int) -> None:
    head = train(head_of(RULES[name]), parts)
    before = head.centres.clone()
    for number, (embeddings, labels, share) in enumerate(parts_of_batch(parts)):
        head.prepare(len(RATES), 0.1, number, parts)
        broken = embeddings if number else embeddings * math.nan
        backward(head, (broken, labels, share))
    assert torch.equal(head.centres, before)


def test_without_a_backward_pass_no_centre_moves() -> None:
    head = head_of(RULES["sgd"])
    before = head.centres.clone()
    head.prepare(0, 0.1)
    head(*batch())
    assert torch.equal(head.centres, before)


@pytest.mark.parametrize("name", RULES)
def test_a_head_goes_on_from_its_rows(name: str) -> None:
    head = train(head_of(RULES[name]), 1)
    other = head_of(RULES[name])
    other.load_rows(head.rows())
    for each in (head, other):
        each.prepare(len(RATES), 0.1)
        backward(each, parts_of_batch(1)[0])
    assert torch.equal(other.centres, head.centres)


def test_settings_choose_the_rule() -> None:
    assert CentreRule.from_settings(Settings(momentum=0.8, weight_decay=0.2)) == Sgd(0.8, 0.2)
    assert CentreRule.from_settings(Settings(optimizer="adamw", momentum=0.8)) == AdamW(0.8, 5e-4)
