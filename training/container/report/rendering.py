"""The templates of what people read, and how figures are written in them."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from training.container.report import figures

STYLE = Path(__file__).with_name("report.css")


def environment(templates: Path) -> Environment:
    """What ends in .html or .html.jinja is escaped; in Markdown the card's own `cell` does it."""
    made = Environment(
        loader=FileSystemLoader(templates),
        autoescape=select_autoescape(["html", "html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"percent": figures.percent, "number": figures.number, "svg": Markup}
    return made


def style() -> Markup:
    """The page's style sheet."""
    return Markup(STYLE.read_text(encoding="utf-8"))  # noqa: S704 (our own file)
