"""The figures as a person reads them: percentages, durations, sentences; for the page and the model card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.arcface.report.facts import Facts, Figures
from training.container.report.figures import NONE, KeyFigure, duration, number, percent


@dataclass(frozen=True)
class OperatingPoint:
    """What accepting `far` of the impostors leads to."""

    name: str  # 1e-3
    far: float
    tar: float
    threshold: float

    @property
    def one_in(self) -> str:
        return f"1 in {round(1 / self.far):,}"


def operating_points(figures: Figures) -> list[OperatingPoint]:
    """From the most to the least permissive; only what the pairs were enough for."""
    tars, thresholds = figures.get("tar_at_far") or {}, figures.get("threshold_at_far") or {}
    found = [
        OperatingPoint(name, float(name), tars[name], thresholds[name]) for name in tars if name in thresholds
    ]
    return sorted(found, key=lambda point: -point.far)


def verdict(facts: Facts) -> str:
    """The first sentence of the page: is it any good, and how is it to be used."""
    figures, data = facts.figures, facts.data
    if figures.get("accuracy") is None:
        why = figures.get("reason") or (figures.get("refused") or {}).get("accuracy") or data.reason
        return f"Not verified: {why or 'nobody was held out'}. The figures below are of training alone."
    who = (
        f"On {data.held_out_identities:,} people whom it never saw, the"
        if data.held_out_identities
        else "The"
    )
    sentence = f"{who} model tells one person from two with {percent(figures['accuracy'])} accuracy"
    if (threshold := figures.get("threshold")) is not None:
        sentence += f", taking pairs that score above {threshold:.3f} as one person"
    before = figures.get("accuracy_before")
    return sentence + (f"; untrained it got {percent(before)}." if before is not None else ".")


def key_figures(facts: Facts) -> list[KeyFigure]:
    """What the page begins with; what was not measured is left out."""
    figures = facts.figures
    found = [
        KeyFigure("Accuracy", percent(figures.get("accuracy")), _spread(figures)),
        KeyFigure("Equal error rate", percent(figures.get("eer")), "lower is better"),
        KeyFigure("AUC", _four(figures.get("auc")), "1 is perfect"),
        KeyFigure("Rank-1", percent(figures.get("rank_1")), "nearest face is the right one"),
    ]
    points = operating_points(figures)
    if points:
        at = next((point for point in reversed(points) if point.far >= 1e-3), points[-1])
        found.insert(
            1, KeyFigure(f"TAR at FAR {at.name}", percent(at.tar), f"{at.one_in} impostors accepted")
        )
    found = [figure for figure in found if figure.value != NONE]
    if (loss := figures.get("loss")) is not None:
        found.append(KeyFigure("Loss", number(float(loss)), "mean of the last epoch"))
    if (speed := _speed(facts)) is not None:
        found.append(KeyFigure("Throughput", f"{speed:,.0f}", "images a second"))
    found.append(KeyFigure("Time", duration(figures.get("seconds")), "in this run"))
    return found


def set_rows(facts: Facts) -> list[tuple[str, Figures]]:
    """Every set's figures, where there are several."""
    sets: Mapping[str, Figures] = facts.figures.get("sets") or {}
    return list(sets.items()) if len(sets) > 1 else []


def groups(figures: Figures) -> list[tuple[str, Figures]]:
    """Each group's figures, where the dataset says who is in which; of several sets, set by set."""
    sets: Mapping[str, Figures] = figures.get("sets") or {"": figures}
    return [
        (f"{name}: {group}" if len(sets) > 1 else group, values)
        for name, own in sets.items()
        for group, values in (own.get("groups") or {}).items()
    ]


def _speed(facts: Facts) -> float | None:
    """The middle one: the first interval holds compilation and cold caches."""
    speeds: Sequence[float] = sorted(
        point["images_per_second"] for point in facts.curve if point.get("images_per_second") is not None
    )
    return speeds[len(speeds) // 2] if speeds else None


def _spread(figures: Figures) -> str:
    spread = figures.get("accuracy_std")
    return "" if spread is None else f"± {100 * spread:.2f} over the folds"


def _four(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"
