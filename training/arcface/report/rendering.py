"""The templates of what people read, and how figures are written in them."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from training.arcface.report import words

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Environment:
    """What ends in .html or .html.jinja is escaped; in Markdown the card's own `cell` does it."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html", "html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"percent": words.percent, "number": words.number}
    return made
