"""Everything that a finished job leaves: the model's folder, its figures and card, and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from training.arcface import report
from training.arcface.about import About
from training.arcface.channels import Data
from training.arcface.learner import Learner
from training.arcface.report.facts import DataFacts, Facts, SetScores
from training.jobs.contract import REPORT_NAME, ContainerPaths


@dataclass(frozen=True)
class Outcome:
    """What training came to. sets: the scores that `figures` are of; hardware: the run's first log line."""

    figures: Mapping[str, Any]
    sets: Sequence[SetScores]
    hardware: str


def write(paths: ContainerPaths, about: About, learner: Learner, data: Data, outcome: Outcome | None) -> None:
    """All ranks call it together, for each holds its share of the centres; rank 0 alone has an outcome."""
    shards = learner.world.to_first(learner.head.centres)
    if outcome is None or shards is None:
        return
    settings, listing = learner.settings, data.train.listing
    report.write_model(paths.model, learner.backbone, listing, settings, torch.cat(shards))
    report.write_json(paths.model / "metrics.json", outcome.figures)
    facts = Facts(
        about=about,
        settings=settings,
        data=data_facts(data),
        figures=outcome.figures,
        curve=outcome.figures["history"]["curve"],
        sets=outcome.sets,
        hardware=outcome.hardware,
    )
    report.write_card(paths.model, facts)
    report.write_page(paths.output_data / REPORT_NAME, facts)


def data_facts(data: Data) -> DataFacts:
    """What the report says of the data."""
    held_out = data.held_out.listing if data.held_out else None
    return DataFacts(
        images=len(data.train.listing),
        counts=data.train.listing.counts(),
        held_out_images=len(held_out) if held_out else 0,
        held_out_identities=len(held_out.identities) if held_out else 0,
        resized=data.decoded.resized if data.decoded else 0,
        unreadable=len(data.decoded.unreadable) if data.decoded else 0,
        reason=data.reason,
    )
