"""The page and the model card: what they say, and what they never say."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.arcface.examples import TinyNetwork, dataset, picture
from training.arcface import report
from training.arcface.data.store import CachedImages
from training.arcface.report import thumbnails, words
from training.arcface.report.facts import DataFacts, Facts
from training.arcface.settings import Settings
from training.arcface.verification.metrics import verify
from training.container.about import About
from training.container.report import charts

PIXELS = np.stack([picture(who, number) for who in range(3) for number in range(2)])


@dataclass(frozen=True)
class Scored:
    """A set of 40 genuine and 400 impostor pairs of six pictures."""

    name: str = "held_out"
    seed: int = 0
    images: CachedImages = field(default_factory=lambda: CachedImages(PIXELS, np.arange(len(PIXELS))))

    @property
    def genuine(self) -> Any:
        return np.random.default_rng(self.seed).normal(0.6, 0.15, 40)

    @property
    def impostor(self) -> Any:
        return np.random.default_rng(self.seed + 1).normal(0.1, 0.15, 400)

    @property
    def genuine_pairs(self) -> Any:
        return np.tile([[0, 1]], (40, 1))

    @property
    def impostor_pairs(self) -> Any:
        return np.tile([[0, 2]], (400, 1))

    def figures(self) -> dict[str, Any]:
        return {**verify(self.genuine, self.impostor).as_dict(), "rank_1": 0.9}


def facts_of(*sets: Scored, settings: Settings | None = None, **figures: Any) -> Facts:
    """A job of 40 steps on three people; one set's figures are the job's own, several are told apart."""
    own = {one.name: one.figures() for one in sets}
    several = {"sets": own} if len(sets) > 1 else {}
    verified = own[sets[0].name] if sets else {"accuracy": None, "reason": "too few identities"}
    history = [{"step": step, **verified} for step in (0, 40)] if sets else []
    return Facts(
        about=About("facetrain-dev-staff-1", "staff", {"legal_basis": "consent", "expires_at": "2027-06-30"}),
        settings=settings or Settings(network="mbf", lr=0.3),
        data=DataFacts(images=30, counts=np.array([10, 8, 12]), held_out_images=6, held_out_identities=3),
        figures={
            **{
                **verified,
                **several,
                "loss": 2.5,
                "steps": 40,
                "epochs": 4,
                "seconds": 75.0,
                "best_step": 40,
            },
            **{"accuracy_before": 0.5, "history": {"verifications": history}, **figures},
        },
        curve=[{"step": s, "loss": 20 / s, "lr": 0.1, "images_per_second": 50.0} for s in range(1, 41)],
        sets=sets,
        hardware="start network=mbf device=cpu threads=2 precision=fp32 torch=2.13.0",
    )


@pytest.fixture
def page(tmp_path: Path) -> Callable[[Facts], str]:
    def written(facts: Facts) -> str:
        report.write_page(tmp_path / "data" / "report.html", facts)
        return (tmp_path / "data" / "report.html").read_text()

    return written


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a job with one set."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.write_page(path, facts_of(Scored()))
    return path.read_text()


class Elements(HTMLParser):
    """Every element's ids, addresses and kind."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.kinds: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.kinds.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "action", "xlink:href"):
                self.addresses.append(value or "")


def test_the_page_is_one_file_that_asks_for_nothing(usual: str) -> None:
    found = Elements(usual)
    assert all(address.startswith(("data:", "#")) for address in found.addresses)
    assert not re.search(r"@import|url\((?!#)", usual)
    assert "script" not in found.kinds
    assert len(usual) < 2_000_000


def test_every_chart_can_be_read_aloud_and_takes_the_pages_colours(usual: str) -> None:
    drawn = re.findall(r'<svg class="chart".*?</svg>', usual, re.DOTALL)
    assert len(drawn) == 7  # loss, rate, throughput, verification, ROC, scores, images per identity
    assert all(re.search(r'role="img".*<title id=.*<desc id=', chart, re.DOTALL) for chart in drawn)
    assert not re.search(r"#0a0b0|DejaVu", usual)


def test_no_face_gets_into_a_page_that_is_to_have_none(page: Callable[[Facts], str], usual: str) -> None:
    assert usual.count("data:image/jpeg") == 2 * 2 * thumbnails.PAIRS
    text = page(facts_of(Scored(), settings=Settings(thumbnails=False)))
    assert "data:image" not in text
    assert "thumbnails</code> is false" in text


def test_the_hardest_pairs_come_first_and_say_whether_they_are_decided_wrongly() -> None:
    scored = Scored()
    alike, unlike = thumbnails.hardest(scored, threshold=0.35, count=3)
    assert [pair.score for pair in alike] == sorted(scored.impostor, reverse=True)[:3]
    assert [pair.score for pair in unlike] == sorted(scored.genuine)[:3]
    assert [pair.wrong for pair in alike] == [pair.score > 0.35 for pair in alike]
    assert [pair.wrong for pair in unlike] == [pair.score <= 0.35 for pair in unlike]


def test_a_run_without_verification_still_has_a_page(page: Callable[[Facts], str]) -> None:
    text = page(facts_of())
    assert "Not verified: too few identities" in text
    assert "Loss" in text


def test_a_dataset_named_like_markup_stays_text(page: Callable[[Facts], str]) -> None:
    facts = facts_of(Scored())
    text = page(replace(facts, about=About("job", "<img src=x onerror=alert(1)>")))
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text


def test_what_differs_from_the_defaults_is_told_apart_and_no_password_shown(
    page: Callable[[Facts], str],
) -> None:
    settings = Settings(network="mbf", tracking_uri="https://me:secret@mlflow.example/")
    text = page(facts_of(Scored(), settings=settings))
    assert "2 of 44 hyperparameters differ" in text
    assert "https://mlflow.example/" in text
    assert "secret" not in text


def test_several_sets_and_groups_have_tables(page: Callable[[Facts], str]) -> None:
    facts = facts_of(Scored("lfw"), Scored("agedb", seed=5))
    facts.figures["sets"]["lfw"]["groups"] = {
        "women": {"accuracy": 0.9, "tar": 0.95, "far": 0.05, "genuine": 40, "impostor": 50},
        "men": {"genuine": 3, "impostor": 50, "refused": "a group needs 30 pairs of each kind"},
    }
    text = page(facts)
    assert all(f'<th scope="row">{name}</th>' in text for name in ("lfw", "agedb", "lfw: women", "lfw: men"))
    assert "a group needs 30 pairs" in text
    ids = Elements(text).ids
    assert len(ids) == len(set(ids))  # or a chart would borrow another's parts


def test_the_roc_passes_through_the_operating_points() -> None:
    scored = Scored()
    fars, tars = charts.roc_curve(scored.genuine, scored.impostor)
    for point in words.operating_points(scored.figures()):
        assert np.interp(np.log10(point.far), np.log10(fars), tars) == pytest.approx(point.tar, abs=0.03)
    assert (np.diff(tars) >= 0).all()
    assert (fars[0], tars[-1]) == (pytest.approx(1 / 400), 1.0)


# -- Model folder ------------------------------------------------------------------------------------------


def test_the_card_says_why_the_faces_may_be_used_and_what_is_missing(tmp_path: Path) -> None:
    report.write_card(tmp_path, facts_of(Scored()))
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert "- legal basis: consent\n" in text
    assert "- to be deleted by: 2027-06-30\n" in text
    assert "- purpose: not said in the manifest\n" in text
    assert re.search(r"\| 1e-2 \| 1 in 100 \| \d+\.\d\d % \| 0\.\d{4} \|", text)


def test_a_governance_field_cannot_break_the_card(tmp_path: Path) -> None:
    facts = facts_of(Scored())
    odd = About("job", "staff", {"source": "line\n# heading <script>"})
    report.write_card(tmp_path, replace(facts, about=odd))
    assert "- source: line # heading &lt;script>\n" in (tmp_path / "MODEL_CARD.md").read_text()


def test_weights_and_centres_are_there_without_a_pickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.arcface.report.model.export_onnx", lambda *_: None)
    network, centres = TinyNetwork(), torch.randn(3, 512)
    settings = Settings(tracking_uri="http://me:secret@host")
    report.write_model(tmp_path, network, dataset(3, 2).listing, settings, centres)
    read = load_file(tmp_path / "backbone.safetensors")
    assert all(torch.equal(value, read[name]) for name, value in network.state_dict().items())
    assert torch.equal(load_file(tmp_path / "head.safetensors")["centres"], centres)
    assert {path.stat().st_mode & 0o444 for path in tmp_path.iterdir()} == {0o444}
    assert json.loads((tmp_path / "config.json").read_text())["tracking_uri"] == "http://host"


def test_small_values_are_written_out_on_an_axis() -> None:
    heading = charts.Heading("lr", "Learning rate", "")
    drawn = charts.line(heading, np.array([1.0, 2.0]), np.array([0.001, 0.0025]))
    assert ">0.0006<" in drawn.svg
    assert ">0.00<" not in drawn.svg
