"""What a step takes beside the centres and their moments does not depend on the number of classes."""

from itertools import accumulate

import pytest
import torch
from torch.profiler import ProfilerActivity

from training.arcface.distributed import World
from training.arcface.head import MarginHead
from training.arcface.margins import AdaFace
from training.arcface.rules import AdamW, CentreRule, Sgd

SIZE, IMAGES, BLOCK = 16, 8, 64
FEW, MANY = 8 * BLOCK, 32 * BLOCK


def peak_of_a_step(classes: int, rule: CentreRule, sample_rate: float, parts: int) -> int:
    """The most bytes that the step's tensors took together at any moment, by torch's allocator."""
    margin = AdaFace(16.0, m2=0.4, m3=0.4, label_smoothing=0.1)
    head = MarginHead(
        classes, SIZE, margin, World(), block=BLOCK, sample_rate=sample_rate, interclass_filter=0.3, rule=rule
    )
    embeddings = torch.randn(IMAGES, SIZE, generator=torch.Generator().manual_seed(1)).requires_grad_()
    with torch.profiler.profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        for part in range(parts):
            head.prepare(0, 0.1, part, parts)
            torch.autograd.backward(head(embeddings, torch.arange(IMAGES)))
    assert seen.profiler is not None
    assert seen.profiler.kineto_results is not None
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert len(events) > 100
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate(int(event.nbytes()) for event in events))


@pytest.mark.parametrize(
    ("rule", "sample_rate", "parts"), [(Sgd(), 1.0, 1), (AdamW(), 1.0, 1), (Sgd(), 0.25, 1), (Sgd(), 1.0, 2)]
)
def test_a_step_takes_as_much_memory_with_four_times_the_classes(
    rule: CentreRule, sample_rate: float, parts: int
) -> None:
    few, many = (peak_of_a_step(count, rule, sample_rate, parts) for count in (FEW, MANY))
    assert many == few


def test_a_step_takes_a_fraction_of_what_the_centres_take() -> None:
    assert peak_of_a_step(MANY, Sgd(), 1.0, 1) < MANY * SIZE * 4 / 4
