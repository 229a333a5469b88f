"""When a verification makes BatchNorm's statistics anew, and when it leaves them as they came."""

import math

import pytest
import torch

from tests.arcface.examples import TinyNetwork, dataset
from training.arcface.channels import Data
from training.arcface.distributed import World
from training.arcface.learner import Learner
from training.arcface.plan import Plan
from training.arcface.progress import Progress
from training.arcface.settings import Settings
from training.arcface.verification.sets import of_identities
from training.arcface.verifier import Verifier

SETTINGS = Settings(network="tiny", batch_size=4, epochs=1, precision="fp32")


def verifier(*, pretrained: bool) -> Verifier:
    torch.manual_seed(3)
    train, other = dataset(3, 4), dataset(3, 3)
    learner = Learner(TinyNetwork(), 3, SETTINGS, World(), compiled=False)
    held_out = of_identities("held_out", other, seed=0)
    plan = Plan.make(len(train.listing), SETTINGS, World())
    return Verifier(
        learner, Data(train, other, sets=(held_out,)), plan, Progress(), lambda _: None, pretrained=pretrained
    )


def test_a_fresh_network_is_measured_under_statistics_of_its_images() -> None:
    made = verifier(pretrained=False)
    made.learner.backbone.get_buffer("bn.running_var").fill_(math.nan)
    assert made.verify() is not None
    assert made.learner.backbone.get_buffer("bn.running_var").isfinite().all()


def test_pretrained_weights_are_first_measured_as_they_came() -> None:
    made = verifier(pretrained=True)
    before = made.learner.backbone.get_buffer("bn.running_mean").clone()
    made.verify()
    assert torch.equal(made.learner.backbone.get_buffer("bn.running_mean"), before)


@pytest.mark.parametrize("pretrained", [True, False])
def test_after_the_first_step_the_statistics_are_those_of_the_present_weights(pretrained: bool) -> None:
    made = verifier(pretrained=pretrained)
    made.progress.step = 1
    before = made.learner.backbone.get_buffer("bn.running_mean").clone()
    made.verify()
    assert not torch.equal(made.learner.backbone.get_buffer("bn.running_mean"), before)
