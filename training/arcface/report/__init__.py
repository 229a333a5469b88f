"""What comes out of a job: `model` writes the model folder, `card` what it is good for, `page` the report."""

from pathlib import Path

from training.arcface.report.card import write_card
from training.arcface.report.facts import DataFacts, Facts
from training.arcface.report.model import write_model
from training.container.aside import written_aside

__all__ = ["DataFacts", "Facts", "write_card", "write_model", "write_page"]


def write_page(path: Path, facts: Facts) -> None:
    """The report, one file: whole or not there."""
    from training.arcface.report.page import render  # noqa: PLC0415  (matplotlib takes a second to import)

    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        aside.write_text(render(facts), encoding="utf-8")
