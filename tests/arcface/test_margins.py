"""The margins by themselves: they fall with the angle, their derivatives are right, bad ones are refused."""

import math
from dataclasses import replace

import pytest
import torch

from tests.arcface.dense import MARGINS, Norms, batch
from training.arcface.margins import AdaFace, Margin, NormStatistics
from training.arcface.settings import Settings
from training.container.errors import TrainingError

QUALITIES = (-1.0, -0.3, 0.0, 0.3, 1.0)
WIDEST = {
    "shifted most": Margin(m2=1.5),
    "multiplied most": Margin(m1=4.0, m2=1.5),
    "multiplied least": Margin(m1=0.1, m2=0.0),
}


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("name", [*MARGINS, *WIDEST])
def test_a_larger_angle_never_scores_higher(name: str, quality: float) -> None:
    cosines = torch.linspace(1, -1, 10_001, dtype=torch.float64)
    margin = (MARGINS | WIDEST)[name]
    values, slopes = margin.target(cosines, torch.full_like(cosines, quality))
    # AdaFace's angle ends at 0, and there its target rests; SphereFace's has an instant's rest at each turn.
    rests = margin.adaptive and quality > 0
    assert (values.diff() <= 0 if rests else values.diff() < 0).all()
    assert (slopes >= 0).all()


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("name", MARGINS)
def test_the_exact_derivative_is_the_slope(name: str, quality: float) -> None:
    cosines = torch.linspace(-0.999, 0.999, 4001, dtype=torch.float64)
    qualities = torch.full_like(cosines, quality)
    values, slopes = MARGINS[name].target(cosines, qualities)
    step = 1e-7
    measured = (MARGINS[name].target(cosines + step, qualities)[0] - values) / step
    # Two jumps or kinks at the most lie within a step of one of these cosines.
    assert ((measured - slopes).abs() > 1e-3).sum() <= 2


@pytest.mark.parametrize("name", MARGINS)
def test_the_straight_through_derivative_is_one(name: str) -> None:
    cosines = torch.linspace(-1, 1, 101)
    _, slopes = replace(MARGINS[name], straight_through=True).target(cosines, torch.zeros_like(cosines))
    assert (slopes == 1).all()


def test_a_margin_beyond_pi_goes_on_as_arcface_does() -> None:
    value, slope = Margin(m2=0.5, m3=0.1).target(torch.tensor([-0.99]), torch.zeros(1))
    assert value.item() == pytest.approx(-0.99 - 0.5 * math.sin(0.5) - 0.1)
    assert slope.item() == 1


@pytest.mark.parametrize(
    ("settings", "margin"),
    [
        (Settings(), Margin(64.0, 1.0, 0.5, 0.0)),
        (Settings(loss="cosface", margin=0.35, scale=30.0), Margin(30.0, 1.0, 0.0, 0.35)),
        (Settings(loss="adaface", margin=0.4), AdaFace(64.0, 1.0, 0.4, 0.4)),
        (Settings(loss="combined", margins=" 0.9, 0.4,0.15"), Margin(64.0, 0.9, 0.4, 0.15)),
        (
            Settings(margin_gradient="straight_through", label_smoothing=0.1),
            Margin(straight_through=True, label_smoothing=0.1),
        ),
    ],
)
def test_settings_choose_the_margin(settings: Settings, margin: Margin) -> None:
    assert Margin.from_settings(settings) == margin


@pytest.mark.parametrize(
    "text", ["", "1,0.5", "1,0.5,0,0", "1;0.5;0", "a,0.5,0", "1,nan,0", "0,0.5,0", "1,2,0"]
)
def test_margins_that_make_no_sense_are_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(TrainingError, match=r'^margins: .*write three numbers such as "1,0\.5,0"'):
        Margin.from_settings(Settings(loss="combined", margins=text))


def test_margins_do_not_matter_to_another_loss() -> None:
    assert Margin.from_settings(Settings(loss="arcface", margins="")) == Margin()


def test_norms_statistics_follow_the_release_over_several_batches() -> None:
    statistics, expected = NormStatistics().double(), Norms()
    for scale in (1.0, 50.0, 0.0001):
        embeddings = batch()[0] * scale
        norms = embeddings.norm(dim=1)
        statistics.update(norms)
        torch.testing.assert_close(statistics.quality(norms), expected.quality(embeddings))


@pytest.mark.parametrize("norms", [[5.0], [], [1.0, math.nan], [math.nan, math.nan]])
def test_norms_that_say_nothing_leave_no_nan_in_the_statistics(norms: list[float]) -> None:
    statistics = NormStatistics()
    statistics.update(torch.tensor(norms))
    assert statistics.mean.item() == 20
    assert statistics.deviation.item() == 100
