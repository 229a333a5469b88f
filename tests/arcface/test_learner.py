"""One step: in parts as in one, by either optimizer, averaged, clipped, in any precision."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize

from tests.arcface.examples import TinyNetwork
from training.arcface import optimizer
from training.arcface.distributed import World
from training.arcface.layers import PReLU
from training.arcface.learner import Learner
from training.arcface.settings import Settings

CLASSES = 5
PLAIN: dict[str, Any] = {"precision": "fp32", "lr": 0.1}


class WithoutNorms(nn.Module):
    """What BatchNorm is not in, an image does not depend on the others in its part."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 7, stride=16)
        self.prelu = PReLU(4)
        self.fc = nn.Linear(4 * 7 * 7, 512)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.prelu(self.conv(x)).flatten(1))  # type: ignore[no-any-return]


def learner_of(
    network: type[nn.Module] = WithoutNorms, world: World | None = None, **settings: Any
) -> Learner:
    torch.manual_seed(1)
    return Learner(network(), CLASSES, Settings(**{**PLAIN, **settings}), world or World(), compiled=False)


def batch(images: int = 12, seed: int = 2) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(images, 3, 112, 112, generator=source), torch.arange(images) % CLASSES


def train(learner: Learner, steps: int, sizes: list[int] | None = None, rate: float = 0.1) -> list[float]:
    """The losses of steps on batches of 12 images, each in parts of these sizes."""
    losses = []
    for step in range(steps):
        images, labels = batch(seed=step)
        cut = sizes or [len(images)]
        parts = list(zip(torch.split(images, cut), torch.split(labels, cut), strict=True))
        losses.append(learner.step(parts, step, rate).item())
    return losses


def everything(learner: Learner) -> dict[str, Tensor]:
    return {**learner.backbone.state_dict(), **learner.rows()}


def test_a_step_is_that_of_a_straight_loop_with_the_whole_matrix() -> None:
    settings, learner = Settings(**PLAIN), learner_of(TinyNetwork)
    network, centres = copy.deepcopy(learner.backbone), nn.Parameter(learner.head.centres.clone())
    sgd = torch.optim.SGD([*network.parameters(), centres], lr=0.1, momentum=0.9, weight_decay=5e-4)
    expected = []
    for step in range(4):
        images, labels = batch(seed=step)
        cosines = linear(normalize(network(images)), normalize(centres))
        angles = cosines.clamp(-1 + 1e-7, 1 - 1e-7).acos() + settings.margin * torch.eye(CLASSES)[labels]
        loss = cross_entropy(settings.scale * angles.cos(), labels)
        sgd.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        sgd.step()
        expected.append(loss.item())
    assert train(learner, 4) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("sizes", [[6, 6], [4, 4, 4], [7, 5]])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_parts_of_any_size_make_the_step_of_the_whole_batch(kind: str, sizes: list[int]) -> None:
    rate = 0.1 if kind == "sgd" else 1e-3
    whole, in_parts = learner_of(optimizer=kind), learner_of(optimizer=kind)
    assert train(in_parts, 3, sizes, rate) == pytest.approx(train(whole, 3, rate=rate), rel=1e-4)
    found, expected = everything(in_parts), everything(whole)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-5)


def test_adamw_spares_what_scales_and_shifts() -> None:
    network = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 1), "bn": nn.BatchNorm2d(4), "prelu": PReLU(4)})
    network.register_parameter("pos_embed", nn.Parameter(torch.zeros(1, 4, 8)))
    weights = optimizer.trained(network)
    assert [name for name, value in weights.items() if optimizer.is_decayed(name, value)] == ["conv.weight"]
    groups = optimizer.build(weights, Settings(optimizer="adamw", weight_decay=0.1)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert [len(group["params"]) for group in groups] == [1, 5]


def test_sgd_decays_everything_as_arcface_torch_does() -> None:
    weights = optimizer.trained(TinyNetwork())
    (group,) = optimizer.build(weights, Settings(weight_decay=0.1)).param_groups
    assert (group["weight_decay"], len(group["params"])) == (0.1, len(weights))


def test_a_clipped_gradient_moves_the_network_no_further_than_its_norm() -> None:
    learner = learner_of(gradient_clip=0.01, momentum=0.0, weight_decay=0.0)
    before = copy.deepcopy(learner.backbone.state_dict())
    train(learner, 1, rate=1.0)
    moved = [value - before[name] for name, value in learner.backbone.state_dict().items()]
    assert nn.utils.get_total_norm(moved).item() == pytest.approx(0.01, rel=1e-3)


# -- The average -------------------------------------------------------------------------------------------


def test_the_average_follows_the_weights_and_is_what_is_shown() -> None:
    learner = learner_of(ema=0.9)
    old = copy.deepcopy(learner.backbone.state_dict())
    train(learner, 1)
    new, shown = learner.backbone.state_dict(), learner.evaluated()
    for name, value in shown.items():  # at the first step a tenth of the old remains, not nine tenths
        torch.testing.assert_close(value, 0.1 * old[name] + 0.9 * new[name])
    embedded = learner.embed(batch()[0])
    learner.load_evaluated(shown)
    without = learner_of()
    without.backbone.load_state_dict(shown)
    torch.testing.assert_close(embedded, without.embed(batch()[0]))


def test_an_average_changes_nothing_in_training() -> None:
    with_average, without = learner_of(TinyNetwork, ema=0.99), learner_of(TinyNetwork)
    assert train(with_average, 3) == train(without, 3)


def test_the_averages_statistics_are_those_under_its_weights() -> None:
    learner = learner_of(TinyNetwork, ema=0.5)
    train(learner, 2)
    learner.estimate_statistics([batch()[0]])
    shown = learner.evaluated()
    values = nn.functional.conv2d(batch()[0], shown["conv.weight"], stride=16)
    torch.testing.assert_close(shown["bn.running_mean"], values.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)


# -- Precision ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_to_about_the_same_loss(precision: str) -> None:
    losses = train(learner_of(precision=precision), 3, [6, 6])
    assert losses == pytest.approx(train(learner_of(), 3, [6, 6]), rel=0.05)


def test_a_step_whose_fp16_gradients_overflow_moves_no_weight_and_lowers_the_scale() -> None:
    learner = learner_of(precision="fp16")
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = copy.deepcopy(learner.backbone.state_dict())
    train(learner, 1)
    assert learner.scaler.get_scale() == 2.0**39
    assert all(torch.equal(value, before[name]) for name, value in learner.backbone.state_dict().items())


# -- State -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{}, {"optimizer": "adamw"}, {"ema": 0.9, "precision": "fp16"}, {"loss": "adaface", "momentum": 0.0}],
    ids=str,
)
def test_a_learner_goes_on_from_its_state_as_if_nothing_had_been(settings: dict[str, Any]) -> None:
    learner = learner_of(TinyNetwork, **settings)
    train(learner, 2)
    state, rows = learner.state(), copy.deepcopy(learner.rows())
    other = learner_of(TinyNetwork, **settings, seed=9)
    other.load_state(state)
    other.load_rows(rows)
    assert train(other, 2) == train(learner, 2)
    for name, value in everything(learner).items():
        assert torch.equal(everything(other)[name], value)
    for name, value in learner.evaluated().items():
        assert torch.equal(other.evaluated()[name], value)


def test_a_state_is_a_copy() -> None:
    learner = learner_of(ema=0.9)
    train(learner, 1)
    state = learner.state()
    before = copy.deepcopy(state)
    train(learner, 1)
    for part in ("backbone", "ema"):
        assert all(torch.equal(value, before[part][name]) for name, value in state[part].items())


def test_weights_that_are_no_numbers_are_noticed() -> None:
    learner = learner_of()
    assert learner.is_finite()
    with torch.no_grad():
        learner.head.centres[0, 0] = math.nan
    assert not learner.is_finite()
