"""report.html: one file with everything in it, that asks nothing of any network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.container.about import About
from training.container.report import charts
from training.container.report.charts import Chart, Heading
from training.container.report.figures import KeyFigure, duration, number, percent, settings_of
from training.container.report.rendering import environment, style
from training.jobs.algorithms import YOLOV5_KNOBS
from training.yolov5.dataset import Data
from training.yolov5.detection import Detection
from training.yolov5.report.pictures import Picture, picture

STRICT = "mAP 50\N{EN DASH}95"
TEMPLATES = Path(__file__).parent / "templates"
CURVES = (
    (
        "box_loss",
        "Box loss",
        "How far boxes are from where they should be. It should fall, then settle.",
        "",
    ),
    ("cls_loss", "Class loss", "How wrong the scores of the classes are.", ""),
    ("dfl_loss", "Edge loss", "How wrong the places of the boxes' edges are.", ""),
    ("lr", "Learning rate", "What the schedule gave each batch.", ""),
    ("images_per_second", "Throughput", "Pictures trained on per second.", "pictures/s"),
)
MEASURES = (("map50_95", STRICT), ("map50", "mAP 50"), ("recall", "recall"))


@dataclass(frozen=True)
class Facts:
    """A finished job. figures: what metrics.json holds. machine: the run's first log line."""

    about: About
    network: str
    settings: Mapping[str, Any]
    data: Data
    figures: Mapping[str, Any]
    detection: Detection | None
    machine: str


def render(facts: Facts) -> str:
    """The page."""
    title = facts.about.dataset or facts.about.job or "Detector"
    return (
        environment(TEMPLATES)
        .get_template("report.html.jinja")
        .render(
            facts=facts,
            title=title,
            style=style(),
            verdict=verdict(facts.figures, facts.data),
            key_figures=_key_figures(facts),
            measured=list(_measured(facts)),
            pictures=_pictures(facts),
            classes=facts.figures.get("classes", ()),
            curves=list(_curves(facts.figures["history"]["curve"])),
            settings=settings_of(facts.settings, YOLOV5_KNOBS),
            machine=[word.split("=", 1) for word in facts.machine.split() if "=" in word],
            duration=duration(facts.figures["seconds"]),
        )
    )


def verdict(figures: Mapping[str, Any], data: Data) -> str:
    """One sentence on how good it is."""
    if "map50" not in figures:
        return f"How good the detector is was not measured: {data.reason}."
    return (
        f"Of what is in pictures that it never saw, the detector finds {percent(figures['recall'], 1)}, and "
        f"{percent(figures['precision'], 1)} of what it finds is right."
    )


def _key_figures(facts: Facts) -> list[KeyFigure]:
    figures = facts.figures
    found = [
        KeyFigure(STRICT, percent(figures.get("map50_95"), 1), "mean over how exact boxes must be"),
        KeyFigure("mAP 50", percent(figures.get("map50"), 1), "where half an overlap is enough"),
        KeyFigure("Precision", percent(figures.get("precision"), 1), "of what is found, right"),
        KeyFigure("Recall", percent(figures.get("recall"), 1), "of what is there, found"),
    ]
    if "map50" in figures:
        return found
    return [KeyFigure("Pictures", number(len(facts.data.train)), "trained on")]


def _measured(facts: Facts) -> Iterator[Chart]:
    done = facts.figures["history"]["measured"]
    if done:
        steps = np.array([one["step"] for one in done], dtype=float)
        series = [(label, np.array([one[name] for one in done], dtype=float)) for name, label in MEASURES]
        best = facts.figures["best_step"]
        caption = (
            f"After each epoch, on pictures that were not trained on. Higher is better. The dotted line "
            f"marks step {best}, whose weights were kept."
        )
        yield charts.verification(Heading("measured", "Detection", caption), steps, series, best)
    if facts.detection is not None:
        caption = (
            "At an overlap of a half, the mean over all classes: how much of what is found is right, for "
        )
        yield charts.share(
            Heading("pr", "Precision and recall", caption + "how much of what is there is found."),
            facts.detection.recall,
            facts.detection.precision,
            ("recall", "precision"),
        )


def _pictures(facts: Facts) -> list[Picture]:
    """None where the job was told to show none."""
    if facts.detection is None or not facts.settings["thumbnails"]:
        return []
    return [picture(one) for one in facts.detection.worst]


def _curves(curve: Sequence[Mapping[str, float]]) -> Iterator[Chart]:
    if not curve:
        return
    steps = np.array([point["step"] for point in curve], dtype=float)
    for name, title, caption, unit in CURVES:
        values = np.array([point[name] for point in curve], dtype=float)
        yield charts.line(Heading(name, title, caption), steps, values, unit)
