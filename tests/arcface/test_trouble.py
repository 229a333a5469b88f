"""The likeliest cause of a loss that is no number."""

import math
from typing import Any

import pytest
import torch

from training.arcface import trouble
from training.arcface.trouble import Circumstances


def circumstances(**changes: Any) -> Circumstances:
    usual: dict[str, Any] = {
        "loss": math.nan,
        "step": 50,
        "total": 100,
        "per_epoch": 10,
        "warmup": 10,
        "rate": 0.01,
        "peak": 0.02,
        "optimizer": "sgd",
        "batch": 128,
        "dtype": torch.bfloat16,
        "earlier": (40.0, 20.0, 10.0),
    }
    return Circumstances(**(usual | changes))


@pytest.mark.parametrize(
    ("changes", "cause", "remedy"),
    [
        ({"step": 1}, "the weights it started from", "weights channel"),
        ({"step": 1, "dtype": torch.float16}, "fp16", "precision"),
        ({"peak": 1.0}, "lr 1 is far above what sgd usually has at 128 images a step", "try 0.02"),
        ({"optimizer": "adamw"}, "lr 0.02 is far above what adamw usually has", "try 0.001"),
        ({"dtype": torch.float16}, "fp16 holds no number above 65504", "bf16"),
        ({"step": 8, "warmup": 0}, "the full learning rate from the first step on", "warmup_epochs"),
        ({"earlier": (40.0, 10.0, 30.0)}, "the loss had risen from 10 to 30", "try 0.002"),
        ({}, "the learning rate", "try 0.002"),
    ],
)
def test_the_first_rule_that_fits_names_cause_and_remedy(
    changes: dict[str, Any], cause: str, remedy: str
) -> None:
    found = circumstances(**changes).cause()
    assert cause in found[0]
    assert remedy in found[1]


def test_the_message_says_step_rate_cause_and_remedy_in_one_line() -> None:
    assert circumstances(retried=True).message() == (
        "the loss is nan at step 50 of 100 (lr 0.01), also at the lower rate of its retry; likeliest cause: "
        "the learning rate: lower lr (try 0.002) or set precision to fp32"
    )


def test_sgds_default_rate_is_noted_where_adamw_is_chosen() -> None:
    assert "lr=0.02 is far above what adamw usually has: 0.001" in trouble.warning("adamw", 0.02, 128)
    assert trouble.warning("adamw", 0.001, 128) == trouble.warning("sgd", 0.02, 128) == ""
