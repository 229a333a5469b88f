"""Which verification is the best so far, and how long there has been no better one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.container.errors import TrainingError

LAST = "last"  # best_metric: the weights of the last step, whatever they verify at
LOWER_IS_BETTER = ("eer",)
_AT_FAR = "tar_at_far_"


@dataclass(frozen=True)
class Verdict:
    """What one more verification changes. `best`: {"step", "metric", "value"}."""

    best: dict[str, Any] | None
    without_better: int
    improved: bool


def judge(
    figures: Mapping[str, Any], step: int, metric: str, best: dict[str, Any] | None, without_better: int
) -> Verdict:
    """The verdict on the figures of this step. Equal is not better: the earlier weights trained less.

    Asked for "last", it watches the accuracy, for the sake of `patience`. Raises TrainingError where any
    other metric was refused.
    """
    watched = "accuracy" if metric == LAST else metric
    value = value_of(figures, watched)
    if value is None and metric == LAST:
        return Verdict(best, without_better, False)
    if value is None:
        raise TrainingError(
            f"best_metric {watched} cannot be computed{_reason(figures, watched)}: choose another one, or "
            f"verify on more pairs"
        )
    if best is None or is_better(watched, value, best["value"]):
        return Verdict({"step": step, "metric": watched, "value": value}, 0, True)
    return Verdict(best, without_better + 1, False)


def is_better(metric: str, value: float, than: float) -> bool:
    return value < than if metric in LOWER_IS_BETTER else value > than


def value_of(figures: Mapping[str, Any], metric: str) -> float | None:
    """A figure by its knob's name: tar_at_far_1e-3 is figures["tar_at_far"]["1e-3"]. None where refused."""
    found = figures.get(metric)
    if found is None and metric.startswith(_AT_FAR):
        found = (figures.get("tar_at_far") or {}).get(metric.removeprefix(_AT_FAR))
    return None if found is None else float(found)


def _reason(figures: Mapping[str, Any], metric: str) -> str:
    refused = figures.get("refused") or {}
    reason = refused.get(metric) or refused.get(metric.removeprefix(_AT_FAR))
    return f" ({reason})" if reason else ""
