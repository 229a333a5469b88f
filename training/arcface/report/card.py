"""MODEL_CARD.md: what the model is for, what it was made from, how good it is, and how it is used."""

from collections.abc import Iterator
from pathlib import Path

from training.arcface.report import words
from training.arcface.report.facts import Facts
from training.arcface.report.model import INPUT
from training.container.about import GOVERNANCE
from training.container.report.rendering import environment

CARD_NAME = "MODEL_CARD.md"
TEMPLATES = Path(__file__).parent / "templates"
LABELS = {"expires_at": "to be deleted by"}


def write_card(folder: Path, facts: Facts) -> None:
    """Names no person; what a set or a group is called is the dataset's own word."""
    templates = environment(TEMPLATES)
    templates.filters["cell"] = _cell
    text = templates.get_template(f"{CARD_NAME}.jinja").render(
        facts=facts,
        input=INPUT,
        verdict=words.verdict(facts),
        points=words.operating_points(facts.figures),
        grounds=list(_grounds(facts)),
        data=list(_data(facts)),
        figures=words.key_figures(facts),
        rows=words.set_rows(facts),
        groups=words.groups(facts.figures),
        refused=facts.figures.get("refused") or {},
    )
    (folder / CARD_NAME).write_text(text, encoding="utf-8")


def _grounds(facts: Facts) -> Iterator[tuple[str, str]]:
    """Each governance field; one that the manifest leaves out is said to be missing."""
    for name in GOVERNANCE:
        value = facts.about.governance.get(name)
        yield LABELS.get(name, name.replace("_", " ")), _cell(value) if value else "not said in the manifest"


def _data(facts: Facts) -> Iterator[tuple[str, str]]:
    data = facts.data
    yield "trained on", f"{data.images:,} images of {data.identities:,} people"
    if data.identities:
        least, most = data.counts.min(), data.counts.max()
        yield "images of each", f"{least} to {most}" if least < most else f"{least}"
    held_out = f"{data.held_out_images:,} images of {data.held_out_identities:,} people"
    yield (
        "verified on",
        held_out if data.held_out_images else f"nobody held out ({data.reason or 'other sets'})",
    )
    if data.aligned_by:
        yield "aligned to 112x112", f"in the job, by the {data.aligned_by}"
        yield "left out as unreadable or without a face", f"{data.unreadable:,}"
    else:
        yield "left out as unreadable", f"{data.unreadable:,}"
        yield "scaled to 112x112", f"{data.resized:,}"


def _cell(text: str) -> str:
    """One line that cannot end a table's cell or begin markup of its own."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
