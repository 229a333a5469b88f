"""The report's charts: SVG that matplotlib lays out and the page's style sheet colours.

Every colour is a stand-in while drawing and a CSS variable in the page, so that one chart serves light, dark
and paper. Text stays text: it is read aloud, searched, and set in the page's own font.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]

WIDTH, HEIGHT = 400, 250  # points; the page scales them
FONT = 12
INK, MUTED, GRID, GENUINE, IMPOSTOR, ACCENT, CARD = (f"#0a0b0{digit}" for digit in range(7))
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    GENUINE: "var(--genuine)",
    IMPOSTOR: "var(--impostor)",
    ACCENT: "var(--accent)",
    CARD: "var(--card)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "facetrain",
    "font.size": FONT,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 1,
    "legend.facecolor": CARD,
    "legend.edgecolor": CARD,
    "legend.framealpha": 0.9,
    "lines.linewidth": 2,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}
SMALLEST_FAR = 1e-6
ROC_POINTS = 300
BINS = 60


@dataclass(frozen=True)
class Heading:
    """name: of one chart of a page, as ids may be; caption: what the chart shows, in words."""

    name: str
    title: str
    caption: str


@dataclass(frozen=True)
class Chart:
    """A drawn chart. svg: for a page's body."""

    title: str
    caption: str
    svg: str


def line(heading: Heading, steps: Values, values: Values, unit: str = "") -> Chart:
    """values over steps; both (n,)."""

    def draw(axes: Axes) -> None:
        axes.plot(steps, values, color=ACCENT)
        if len(steps) == 1:
            axes.plot(steps, values, "o", color=ACCENT)
        axes.fill_between(steps, values, min(0, float(np.min(values))), color=ACCENT, alpha=0.1, linewidth=0)
        axes.set_ylim(bottom=min(0, float(np.min(values))))
        _over_steps(axes)
        if unit:
            axes.set_ylabel(unit)

    return _chart(heading, draw)


def verification(
    heading: Heading, steps: Values, series: Sequence[tuple[str, Values]], best: int | None
) -> Chart:
    """Up to three figures between 0 and 1 over steps; `best` is the step whose weights were kept."""

    def draw(axes: Axes) -> None:
        for (label, values), colour in zip(series, (ACCENT, GENUINE, IMPOSTOR), strict=False):
            axes.plot(steps, values, "o-", color=colour, markersize=5, label=label)
        lowest = min(float(np.nanmin(values)) for _, values in series)
        axes.set_ylim(max(0.0, lowest - 0.05 * (1 - lowest) - 0.02), 1.005)
        if best is not None:
            axes.axvline(best, color=MUTED, linewidth=1.5, linestyle=(0, (2, 3)))
        _over_steps(axes)
        axes.legend(loc="lower right")

    return _chart(heading, draw)


def share(heading: Heading, across: Values, up: Values, names: tuple[str, str]) -> Chart:
    """One share over another; both (n,), from 0 to 1. names: of the axes."""

    def draw(axes: Axes) -> None:
        axes.plot(across, up, color=ACCENT)
        axes.fill_between(across, up, color=ACCENT, alpha=0.1, linewidth=0)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.03)
        axes.set_xlabel(names[0])
        axes.set_ylabel(names[1])

    return _chart(heading, draw)


def roc(
    heading: Heading,
    genuine: Values,
    impostor: Values,
    points: Sequence[tuple[str, float, float]],
) -> Chart:
    """True accept rate over false accept rate, on a log axis; points: (label, FAR, TAR)."""
    fars, tars = roc_curve(genuine, impostor)

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        chance = np.geomspace(fars[0], 1, 60)
        axes.plot(chance, chance, color=MUTED, linewidth=1.5, linestyle=(0, (2, 3)))
        axes.plot(fars, tars, color=ACCENT)
        axes.plot(
            [far for _, far, _ in points], [tar for _, _, tar in points], "o", color=ACCENT, markersize=7
        )
        axes.set_xlim(fars[0], 1)
        axes.set_ylim(0, 1.03)
        axes.xaxis.set_major_locator(LogLocator(numticks=8))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda far, _: f"1e-{round(-np.log10(far))}" if far < 1 else "1")
        )
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("false accept rate")
        axes.set_ylabel("true accept rate")

    return _chart(heading, draw)


def roc_curve(genuine: Values, impostor: Values) -> tuple[Values, Values]:
    """FAR and TAR, (n,) each, rising; FAR from what one impostor pair is worth to 1, evenly on a log axis."""
    least = max(SMALLEST_FAR, 1 / len(impostor))
    fars = np.unique(np.geomspace(least, 1, ROC_POINTS))
    ordered = np.sort(impostor)[::-1]
    accepted = np.minimum((fars * len(impostor) + 1e-9).astype(int), len(impostor))
    # As many impostors as `accepted` pass above the score of the next one.
    thresholds = np.where(accepted < len(impostor), ordered[np.minimum(accepted, len(impostor) - 1)], -np.inf)
    tars = 1 - np.searchsorted(np.sort(genuine), thresholds, side="right") / len(genuine)
    return fars, tars


def histogram(heading: Heading, genuine: Values, impostor: Values, threshold: float | None) -> Chart:
    """How the scores of both kinds of pairs spread, each kind's area being 1."""
    edges = np.linspace(
        min(genuine.min(), impostor.min()), max(genuine.max(), impostor.max()) + 1e-6, BINS + 1
    )

    def draw(axes: Axes) -> None:
        for scores, colour, label in (
            (impostor, IMPOSTOR, "two people"),
            (genuine, GENUINE, "one person"),
        ):
            heights, _ = np.histogram(scores, edges, density=True)
            axes.stairs(heights, edges, fill=True, color=colour, alpha=0.25, linewidth=0)
            axes.stairs(heights, edges, color=colour, linewidth=1.8, label=label)
        if threshold is not None:
            axes.axvline(threshold, color=INK, linewidth=1.5, linestyle=(0, (4, 3)))
        axes.set_yticks([])
        axes.set_xlabel("cosine similarity")
        axes.legend(loc="upper right")
        axes.margins(y=0.25)  # room for the legend

    return _chart(heading, draw)


def counts(heading: Heading, images: NDArray[np.int64]) -> Chart:
    """How many identities have how many images; images: of each identity, (n,)."""
    low, high = int(images.min()), int(images.max())
    step = max(1, -(-(high - low + 1) // 24))  # whole numbers of images a bar, at most 24 bars
    edges = np.arange(low, high + step + 1, step) - 0.5

    def draw(axes: Axes) -> None:
        heights, _ = np.histogram(images, edges)
        axes.bar((edges[1:] + edges[:-1]) / 2, heights, width=step * 0.86, color=ACCENT, alpha=0.8)
        axes.set_xlim(min(low - 1, (low + high) / 2 - 4), max(high + 1, (low + high) / 2 + 4))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("images of an identity")
        axes.set_ylabel("identities")

    return _chart(heading, draw)


def _over_steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: _short(step)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """1200 as 1.2k: long numbers would collide on a narrow axis."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:.4g}"


def _chart(heading: Heading, draw: Callable[[Axes], None]) -> Chart:
    with rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.grid(visible=False, axis="x")
        file = io.StringIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return Chart(heading.title, heading.caption, _for_a_page(heading, file.getvalue()))


def _for_a_page(heading: Heading, text: str) -> str:
    """matplotlib's file as an element of a page: ids of its own, a title, the page's font and colours."""
    name = heading.name
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="patch_[12]">.*?</g>', "", body, count=2, flags=re.DOTALL)  # the white backgrounds
    body = re.sub(r'<g id="[^"]*"/>', "", body)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r'(?<= id=")|(?<=url\(#)|(?<=xlink:href="#)', f"{name}-", body).replace(
        "xlink:href", "href"
    )
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    # A hundredth of a point is not seen, and is half the file; what is written between tags stays.
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), body)
    for stand_in, variable in _VARIABLES.items():
        body = body.replace(stand_in, variable)
    start = (
        f'<svg class="chart" role="img" aria-labelledby="{name}-title {name}-text" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}"><title id="{name}-title">{escape(heading.title)}</title>'
        f'<desc id="{name}-text">{escape(heading.caption)}</desc>'
    )
    return re.sub(r"\s*\n\s*", "\n", start + body[body.index(">") + 1 :]).strip()
