"""From sets to figures, whoever embeds and on however many ranks."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.arcface.examples import TinyNetwork, dataset
from training.arcface.data.store import CachedImages, Images
from training.arcface.distributed import World
from training.arcface.verification.evaluate import BATCH, Evaluation, embeddings, evaluate
from training.arcface.verification.groups import FEWEST_PAIRS, Groups, by_group
from training.arcface.verification.identification import rank_1
from training.arcface.verification.sets import EvaluationSet, of_identities
from training.container.errors import TrainingError
from training.jobs.algorithms import ARCFACE_METRICS


def stripes(images: Tensor) -> Tensor:
    """Embeds by the mean row, which shows the identity's stripes."""
    rows = images.mean(dim=(1, 2))
    return torch.nn.functional.normalize(rows - rows.mean(1, keepdim=True))


def drawn(identities: int = 6, images: int = 4, name: str = "held_out") -> EvaluationSet:
    return of_identities(name, dataset(identities, images), seed=0)


def run(*sets: EvaluationSet) -> tuple[Evaluation, list[str]]:
    log: list[str] = []
    return evaluate(stripes, sets, World(), log.append), log


def test_a_network_that_sees_who_it_is_gets_everything_right() -> None:
    found, _ = run(drawn())
    assert found.figures["accuracy"] == 1
    assert found.figures["rank_1"] == 1
    assert found.figures["eer"] == 0
    assert found.figures["tar_at_far"] == {"1e-1": 1.0, "1e-2": 1.0}
    json.dumps(found.figures, allow_nan=False)


def test_the_line_of_the_log_is_read_by_the_metrics_expressions() -> None:
    found, log = run(drawn(20, 4))
    read = {m.name: re.search(m.regex, log[-1]) for m in ARCFACE_METRICS if m.name.startswith("validation")}
    assert {name: float(match[1]) for name, match in read.items() if match} == {
        "validation:accuracy": found.figures["accuracy"],
        "validation:eer": found.figures["eer"],
        "validation:auc": found.figures["auc"],
        "validation:rank_1": found.figures["rank_1"],
        "validation:tar_at_far_1e-2": found.figures["tar_at_far"]["1e-2"],
        "validation:tar_at_far_1e-3": found.figures["tar_at_far"]["1e-3"],
    }


def test_a_reports_scores_are_those_of_its_pairs() -> None:
    (result,) = run(drawn())[0].sets
    one, other = (stripes(pixels(result.images, pair)) for pair in result.genuine_pairs[:3].T)
    assert result.genuine[:3] == pytest.approx((one * other).sum(1).numpy(), abs=1e-6)
    assert len(result.impostor) == len(result.impostor_pairs)


def pixels(images: Images, indices: np.ndarray) -> Tensor:
    return torch.from_numpy(images.take(indices)[0]).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_of_several_sets_the_figures_are_means_and_each_has_its_own() -> None:
    blind = drawn(3, 2, "few")
    nameless = replace(drawn(name="pairs"), labels=None)
    found, log = run(blind, nameless)
    figures = found.figures
    assert set(figures["sets"]) == {"few", "pairs"}
    assert figures["eer"] == np.mean([own["eer"] for own in figures["sets"].values()])
    assert figures["rank_1"] == figures["sets"]["few"]["rank_1"]
    assert figures["refused"]["rank_1"] == "not in the mean: pairs"
    assert figures["refused"]["accuracy"] == "not in the mean: few"
    assert figures["genuine"] == 3 + 36
    assert [line.split()[0] for line in log] == ["verified", "verified", "verification"]
    assert log[0].startswith("verified set=few ")


def test_embeddings_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"24 of 24 embeddings are not finite .* the weights are broken"):
        evaluate(lambda images: stripes(images) / 0 * 0, [drawn()], World(), print)


class Alone(World):
    """One of several ranks, which keeps what it would share."""

    def row_counts(self, rows: int) -> list[int]:
        return [rows]

    def gather(self, tensor: Tensor, counts: object = None) -> Tensor:
        return tensor


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_any_number_of_ranks_embeds_every_image_once_and_alike(ranks: int) -> None:
    network = TinyNetwork().eval()
    one = drawn(3, BATCH)
    with torch.no_grad():
        whole, _ = embeddings(network, one, World(), print)
        parts = [embeddings(network, one, Alone(rank, ranks), print) for rank in range(ranks)]
    assert (np.concatenate([embedded for embedded, _ in parts]) == whole).all()
    assert all(usable.all() for _, usable in parts)


class Replacing(CachedImages):
    """Image 0 cannot be read: as store's streamed images do, the next one is given."""

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        taken = np.where(indices == 0, 1, indices)
        return super().take(taken)[0], taken


def test_an_image_that_was_replaced_is_compared_with_nothing() -> None:
    one = drawn(2, 3)
    images = one.images
    assert isinstance(images, CachedImages)
    (result,) = run(replace(one, images=Replacing(images.pixels, images.rows)))[0].sets
    assert 0 not in result.genuine_pairs
    assert len(result.genuine) == 1 + 3
    assert len(result.impostor) == 2 * 3


# -- Identification ----------------------------------------------------------------------------------------


def test_rank_1_by_hand() -> None:
    angles = np.array([0.0, 0.1, 0.5, 0.55, 2.0])  # 0 and 1 are one person, 2 and 4 another, 3 a third
    embedded = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # 0 -> 1 right, 1 -> 0 right, 2 -> 3 wrong, 4 -> 3 wrong; of 3 there is no other picture.
    assert rank_1(embedded, np.array([0, 0, 1, 2, 1])) == (0.5, "")


@given(st.lists(st.integers(0, 4), min_size=2, max_size=20), st.integers(0, 99))
def test_rank_1_is_that_of_trying_all(people: list[int], seed: int) -> None:
    labels = np.array(people)
    embedded = np.random.default_rng(seed).normal(size=(len(labels), 3))
    right = []
    for probe, label in enumerate(labels):
        others = [other for other in range(len(labels)) if other != probe]
        if label in labels[others]:
            nearest = max(others, key=lambda other: embedded[other] @ embedded[probe])
            right.append(labels[nearest] == label)
    expected = np.mean(right) if right and len(set(people)) > 1 else None
    assert rank_1(embedded, labels)[0] == expected


def test_rank_1_is_refused_where_nobody_is_pictured_twice() -> None:
    assert rank_1(np.eye(3), np.arange(3)) == (None, "needs two pictures of one person, and one of another")


# -- Groups ------------------------------------------------------------------------------------------------


def test_a_groups_figures_are_of_the_pairs_within_it_at_the_threshold_of_all() -> None:
    groups = Groups(("x", "y"), np.array([0, 0, 1, 1, -1]))
    pairs = np.array([[0, 1]] * FEWEST_PAIRS + [[2, 3]] * (FEWEST_PAIRS - 1) + [[0, 2], [0, 4]])
    genuine = np.where(np.arange(len(pairs)) < 6, 0.1, 0.9)
    found = by_group(groups, (pairs, genuine), (pairs, genuine - 0.2), threshold=0.5)
    assert found["x"] == {
        "genuine": FEWEST_PAIRS,
        "impostor": FEWEST_PAIRS,
        "tar": 0.8,
        "far": 0.8,
        "accuracy": pytest.approx(0.5),
    }
    assert found["y"]["refused"] == f"a group needs 30 pairs of each kind, not {FEWEST_PAIRS - 1} and 29"


def test_a_set_with_groups_has_their_figures() -> None:
    one = drawn(12, 4)
    groups = Groups(("x", "y"), np.arange(48) // 24)
    figures = run(replace(one, groups=groups))[0].figures
    assert figures["groups"]["x"]["accuracy"] == 1
    assert figures["groups"]["y"]["impostor"] == 24 * 23 // 2 - 6 * 6
