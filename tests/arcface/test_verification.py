"""Figures against ones worked out by hand or by trying every threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.arcface.verification import metrics
from training.arcface.verification.evaluate import line
from training.arcface.verification.pairs import draw, similarities

scores = st.lists(st.integers(-5, 5), min_size=1, max_size=30).map(lambda v: np.array(v) / 5)

# Four genuine and five impostor scores; sorted: i .1 i .2 g .3 i .4 i .5 g .6 g .7 i .75 g .9
GENUINE = np.array([0.6, 0.9, 0.3, 0.7])
IMPOSTOR = np.array([0.1, 0.75, 0.5, 0.2, 0.4])


def test_tar_at_far_by_hand() -> None:
    assert metrics.tar_at_far(GENUINE, IMPOSTOR, 0.2) == (0.75, 0.5)  # .75 may pass, .5 not: .6 .7 .9 pass
    assert metrics.tar_at_far(GENUINE, IMPOSTOR, 0.4) == (0.75, 0.4)
    assert metrics.tar_at_far(GENUINE, IMPOSTOR, 0.6) == (1.0, 0.2)


@given(scores, scores, st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0]))
def test_tar_at_far_is_the_best_of_all_thresholds_that_keep_the_rate(
    genuine: np.ndarray, impostor: np.ndarray, far: float
) -> None:
    if far * len(impostor) < 1:
        with pytest.raises(ValueError, match="needs"):
            metrics.tar_at_far(genuine, impostor, far)
        return
    tar, threshold = metrics.tar_at_far(genuine, impostor, far)
    assert (impostor > threshold).mean() <= far + 1e-12
    assert tar == (genuine > threshold).mean()
    candidates = [-2.0, *genuine, *impostor]
    allowed = [(genuine > t).mean() for t in candidates if (impostor > t).mean() <= far + 1e-12]
    assert tar == max(allowed)


def test_a_far_below_what_the_pairs_can_show_is_refused_with_the_number_needed() -> None:
    with pytest.raises(ValueError, match=r"FAR 0\.001 needs 1,000 impostor pairs, there are 5"):
        metrics.tar_at_far(GENUINE, IMPOSTOR, 1e-3)


def test_equal_error_rate_by_hand() -> None:
    # At .5: one of four genuine rejected (.25), one of five impostors accepted (.2); below .5: .25 and .4.
    assert metrics.equal_error_rate(GENUINE, IMPOSTOR) == pytest.approx(0.25)
    assert metrics.equal_error_rate(np.array([0.8, 0.9]), np.array([0.1, 0.2])) == 0
    assert metrics.equal_error_rate(np.array([0.1, 0.2]), np.array([0.8, 0.9])) == 1
    assert metrics.equal_error_rate(np.array([0.5]), np.array([0.5])) == pytest.approx(0.5)


@given(scores, scores)
def test_the_area_is_the_share_of_pairs_of_pairs_in_the_right_order(
    genuine: np.ndarray, impostor: np.ndarray
) -> None:
    wins = (genuine[:, None] > impostor).mean() + (genuine[:, None] == impostor).mean() / 2
    assert metrics.area_under_curve(genuine, impostor) == pytest.approx(wins)


@given(scores, scores)
def test_no_threshold_decides_better_than_the_best(genuine: np.ndarray, impostor: np.ndarray) -> None:
    def rate(threshold: float) -> float:
        return float((genuine > threshold).mean() + (impostor <= threshold).mean()) / 2

    best = rate(metrics.best_threshold(genuine, impostor))
    assert all(best >= rate(t) - 1e-12 for t in [-2.0, *genuine, *impostor])


def test_ten_fold_accuracy_by_hand() -> None:
    genuine = np.array([0.9] * 19 + [0.1])
    impostor = np.array([0.2] * 20)
    accuracy, spread, threshold = metrics.k_fold_accuracy(genuine, impostor)
    # Nine folds are decided rightly; the tenth holds .9 and .1: half of its genuine pairs, all its impostors.
    assert accuracy == pytest.approx(0.975)
    assert spread == pytest.approx(np.std([1.0] * 9 + [0.75]))
    assert threshold == pytest.approx(0.55)


def test_a_fold_is_judged_by_a_threshold_it_had_no_part_in() -> None:
    """One pair of each kind a fold: the threshold that suits fold 0 alone would decide it rightly."""
    genuine = np.array([0.3] + [0.9] * 9)
    impostor = np.array([0.2] + [0.6] * 9)
    assert metrics.k_fold_accuracy(genuine, impostor)[0] == pytest.approx(0.95)


def test_too_few_pairs_refuse_figures_with_reasons_and_keep_the_others() -> None:
    found = metrics.verify(GENUINE, IMPOSTOR)
    assert found.accuracy is None
    assert found.tar_at_far == {}
    assert found.refused["accuracy"] == "10 folds need 10 pairs of each kind, not 4 and 5"
    assert "needs 10 impostor pairs" in found.refused["tar_at_far_1e-1"]
    assert found.eer == pytest.approx(0.25)
    assert line(found.as_dict()) == "eer=0.2500 auc=0.7500 threshold=0.5500 genuine=4 impostor=5"


def test_without_one_of_the_kinds_nothing_is_claimed() -> None:
    with pytest.raises(ValueError, match="both are needed"):
        metrics.verify(GENUINE, np.array([]))


def test_every_pair_is_drawn_once_and_of_its_kind() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2])
    pairs = draw(labels, seed=0)
    assert {tuple(sorted(pair)) for pair in pairs.genuine.tolist()} == {(0, 1), (0, 2), (1, 2), (4, 5)}
    assert len(pairs.impostor) == 15 - 4
    assert (labels[pairs.impostor[:, 0]] != labels[pairs.impostor[:, 1]]).all()
    assert (draw(labels, seed=0).impostor == pairs.impostor).all()


def test_many_pairs_of_few_images_score_as_few_of_many_do() -> None:
    embedded = np.random.default_rng(0).normal(size=(50, 8))
    pairs = draw(np.arange(50) // 5, seed=0).impostor
    singly = np.concatenate([similarities(embedded, pair[None]) for pair in pairs])
    assert similarities(embedded, pairs) == pytest.approx(singly)


def test_a_pairs_score_is_the_cosine_of_its_embeddings() -> None:
    angles = np.array([0.0, 1.0, 3.0])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    pairs = draw(np.array([0, 0, 1]), seed=0)
    assert similarities(embeddings, pairs.genuine) == pytest.approx([np.cos(1.0)])
    assert sorted(similarities(embeddings, pairs.impostor)) == pytest.approx(
        sorted([np.cos(3.0), np.cos(2.0)])
    )
