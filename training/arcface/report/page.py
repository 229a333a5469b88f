"""report.html: one file with everything in it, that asks nothing of any network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.arcface.report import words
from training.arcface.report.facts import Facts, Figures, SetScores
from training.arcface.report.thumbnails import PAIRS, PAIRS_OF_MANY, Pair, hardest
from training.container.report import charts
from training.container.report.charts import Chart
from training.container.report.figures import duration, settings_of
from training.container.report.rendering import environment, style
from training.jobs.algorithms import ARCFACE_KNOBS

TEMPLATES = Path(__file__).parent / "templates"
CURVES = (
    ("loss", "Loss", "Mean loss of the steps before each point. It should fall, then settle.", ""),
    ("lr", "Learning rate", "What the schedule gave each step.", ""),
    ("images_per_second", "Throughput", "Images trained on per second, by all devices together.", "images/s"),
)
SERIES = (("accuracy", "accuracy"), ("auc", "AUC"), ("tar_at_far", "TAR at FAR"))


@dataclass(frozen=True)
class SetView:
    """One verification set as the page shows it."""

    name: str
    figures: Figures
    points: Sequence[words.OperatingPoint]
    charts: Sequence[Chart]
    alike: Sequence[Pair] = ()
    unlike: Sequence[Pair] = ()


def render(facts: Facts) -> str:
    """The page. It holds faces only where settings.thumbnails says so, and never a name of anyone."""
    sets = [
        _set_view(index, facts, scored, figures) for index, (scored, figures) in enumerate(facts.each_set())
    ]
    return (
        environment(TEMPLATES)
        .get_template("report.html.jinja")
        .render(
            facts=facts,
            style=style(),
            verdict=words.verdict(facts),
            key_figures=words.key_figures(facts),
            curves=list(_curves(facts)),
            sets=sets,
            groups=words.groups(facts.figures),
            refused=facts.figures.get("refused") or {},
            settings=settings_of(facts.settings.public(), ARCFACE_KNOBS),
            rows=words.set_rows(facts),
            counts=_counts(facts),
            duration=duration(facts.figures.get("seconds")),
        )
    )


def _curves(facts: Facts) -> Iterator[Chart]:
    for name, title, caption, unit in CURVES:
        points = [(point["step"], point[name]) for point in facts.curve if point.get(name) is not None]
        if points:
            steps, values = np.array(points, dtype=float).T
            yield charts.line(charts.Heading(name, title, caption), steps, values, unit)
    if chart := _verification(facts):
        yield chart


def _verification(facts: Facts) -> Chart | None:
    done = [figures for figures in facts.verifications if figures.get("auc") is not None]
    if not done:
        return None
    steps = np.array([figures["step"] for figures in done], dtype=float)
    series = []
    for key, label in SERIES:
        name, values = _series(key, label, done)
        if not np.isnan(values).all():
            series.append((name, values))
    best = facts.figures.get("best_step") if facts.settings.best_metric != "last" else None
    caption = "On faces that were not trained on. Higher is better."
    if best:
        caption += f" The dotted line marks step {best}, whose weights were kept."
    heading = charts.Heading("verified", "Verification", caption)
    return charts.verification(heading, steps, series, best)


def _series(key: str, label: str, done: Sequence[Figures]) -> tuple[str, Any]:
    if key != "tar_at_far":
        return label, np.array([figures.get(key) for figures in done], dtype=float)
    common = set.intersection(*(set(figures.get(key) or {}) for figures in done))
    far = min(common, key=float, default=None)
    values = [figures[key][far] if far else np.nan for figures in done]
    return f"{label} {far}", np.array(values, dtype=float)


def _set_view(index: int, facts: Facts, scored: SetScores, figures: Figures) -> SetView:
    points = words.operating_points(figures)
    threshold = figures.get("threshold")
    marks = [(point.name, point.far, point.tar) for point in points]
    roc = charts.Heading(
        f"roc{index}",
        "ROC",
        f"Of {len(scored.genuine):,} pairs of one person and {len(scored.impostor):,} of two: how many of "
        "the first are accepted (up) for how many of the second (right). Dots are the operating points, "
        "the dotted line is chance.",
    )
    line = f" The dashed line is the threshold {threshold:.3f}." if threshold is not None else ""
    scores = charts.Heading(
        f"scores{index}",
        "Scores",
        "How alike pairs of one person and of two people are to the model: the less the two hills overlap, "
        f"the better.{line}",
    )
    drawn = (
        charts.roc(roc, scored.genuine, scored.impostor, marks),
        charts.histogram(scores, scored.genuine, scored.impostor, threshold),
    )
    if not facts.settings.thumbnails or threshold is None:
        return SetView(scored.name, figures, points, drawn)
    alike, unlike = hardest(scored, threshold, PAIRS if len(facts.sets) <= 2 else PAIRS_OF_MANY)
    return SetView(scored.name, figures, points, drawn, alike, unlike)


def _counts(facts: Facts) -> Chart | None:
    if not facts.data.identities:
        return None
    least, middle, most = np.percentile(facts.data.counts, [0, 50, 100])
    caption = f"From {least:.0f} to {most:.0f} images of an identity; half of them have at most {middle:.0f}."
    if least == most:
        caption = f"Every identity has {least:.0f} images."
    return charts.counts(charts.Heading("counts", "Images per identity", caption), facts.data.counts)
