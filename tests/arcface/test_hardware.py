"""What a run computes with, and the line that says so."""

import torch

from training.arcface import hardware
from training.arcface.distributed import World
from training.arcface.plan import Plan
from training.arcface.settings import Settings

CPU = torch.device("cpu")


def test_the_first_line_says_what_the_run_computes_with_and_on_how_much() -> None:
    settings = Settings(network="mbf", precision="fp16", batch_size=8, accumulate=4)
    line = hardware.describe(settings, World(), 1, Plan.make(100, settings, World()), classes=10)
    assert line.startswith("start network=mbf device=cpu threads=")
    assert " hosts=1 ranks=1 backend=none precision=fp16 optimizer=sgd " in line
    assert " parts=4 batch=32 images=100 identities=10 torch=" in line


def test_a_chosen_precision_is_taken_as_it_is() -> None:
    chosen = [hardware.precision(name, CPU) for name in ("fp32", "bf16", "fp16")]
    assert chosen == [torch.float32, torch.bfloat16, torch.float16]
