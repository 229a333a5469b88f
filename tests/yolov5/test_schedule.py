"""v6.2's schedule: a warm-up by batches, then a fall by epochs."""

from training.yolov5.schedule import Curve, Plan

CURVE = Curve(lr=0.01, lr_final=0.1, cosine=False, momentum=0.9, warmup_momentum=0.8, warmup_bias_lr=0.1)


def test_a_plan_counts_batches_and_adds_them_up_to_64_pictures() -> None:
    plan = Plan.make(pictures=100, batch=16, epochs=10, warmup_epochs=3)
    assert (plan.per_epoch, plan.end, plan.warmup, plan.accumulate) == (7, 70, 21, 4)
    assert [plan.epoch(step) for step in (1, 7, 8, 70)] == [1, 1, 2, 10]
    assert Plan.make(100, 16, 10, 3, most=12).end == 12


def test_a_short_run_has_an_epoch_after_its_warm_up() -> None:
    assert Plan.make(pictures=10, batch=10, epochs=2, warmup_epochs=3).warmup == 1
    assert Plan.make(pictures=10, batch=10, epochs=1, warmup_epochs=3).warmup == 0


def test_rates_rise_in_the_warm_up_but_for_those_of_biases() -> None:
    plan = Plan.make(pictures=64, batch=16, epochs=10, warmup_epochs=2)
    first, middle, last = (CURVE.at(step, plan) for step in (0, 4, 8))
    assert (first.lr, first.bias, first.momentum, first.accumulate) == (0, 0.1, 0.8, 1)
    assert 0 < middle.lr < last.lr == last.bias < middle.bias
    assert (last.momentum, last.accumulate) == (0.9, 4)


def test_after_it_they_fall_from_epoch_to_epoch_to_their_share() -> None:
    plan = Plan.make(pictures=16, batch=16, epochs=10, warmup_epochs=0)
    rates = [CURVE.at(step, plan).lr for step in range(10)]
    assert rates[0] == 0.01
    assert rates == sorted(rates, reverse=True)
    assert abs(CURVE.factor(10, 10) - 0.1) < 1e-12


def test_a_cosine_ends_where_the_line_ends_and_stays_above_it_at_first() -> None:
    bent = Curve(0.01, 0.1, True, 0.9, 0.8, 0.1)
    assert abs(bent.factor(10, 10) - 0.1) < 1e-12
    assert bent.factor(2, 10) > CURVE.factor(2, 10)
