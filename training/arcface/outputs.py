"""Everything that a finished job leaves: the model's folder, its figures and card, and the report."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.arcface import lineage, report
from training.arcface.channels import Data
from training.arcface.learner import Learner
from training.arcface.report.facts import DataFacts, Facts, SetScores
from training.container import room
from training.container.about import About
from training.container.aside import write_json, written_aside
from training.jobs.contract import LINEAGE_NAME, REPORT_NAME, VERIFIED_NAME, ContainerPaths
from training.jobs.forgotten import NOTE_NAME

COPIES = 3  # of the network: for PyTorch twice, and ONNX


@dataclass(frozen=True)
class Outcome:
    """What training came to.

    sets: the scores that `figures` are of; hardware: the run's first log line; lineage: `lineage.describe`'s.
    """

    figures: Mapping[str, Any]
    sets: Sequence[SetScores]
    hardware: str
    lineage: Mapping[str, Any]


def write(
    paths: ContainerPaths,
    about: About,
    learner: Learner,
    data: Data,
    outcome: Outcome | None,
    *,
    log: Callable[[str], None],
) -> None:
    """All ranks call it together, for each holds its share of the centres; rank 0 alone has an outcome.

    Raises TrainingError where the model cannot be written; a report that cannot is told.
    """
    shards = learner.world.to_first(learner.head.centres)
    if outcome is None or shards is None:
        return
    settings, listing = learner.settings, data.train.listing
    facts = Facts(
        about=about,
        settings=settings,
        data=data_facts(data),
        figures=outcome.figures,
        curve=outcome.figures["history"]["curve"],
        sets=outcome.sets,
        hardware=outcome.hardware,
    )
    with room.whole(paths.model, _bytes_of_model(learner)):
        report.write_model(paths.model, learner.backbone, listing, settings, torch.cat(shards))
        made = {**outcome.lineage, "files": lineage.digests(paths.model)}
        write_json(paths.model / LINEAGE_NAME, made)
        if note := lineage.note_of(made):
            write_json(paths.model / NOTE_NAME, {"what": note})
        write_json(paths.model / "metrics.json", outcome.figures)
        report.write_card(paths.model, facts)
    write_report(paths.output_data, facts, data.verified if settings.thumbnails else (), log)


def write_report(
    folder: Path, facts: Facts, verified: Sequence[tuple[str, str]], log: Callable[[str], None]
) -> None:
    """Where it cannot be written that is told, and no more: the model is what counts.

    verified: (channel, identity) of all whose faces it may show.
    """
    try:
        if verified:
            _write_verified(folder / VERIFIED_NAME, verified)
        report.write_page(folder / REPORT_NAME, facts)
    except OSError as error:
        log(f"{REPORT_NAME} not written: {folder}: {error.strerror}")


def _write_verified(path: Path, verified: Sequence[tuple[str, str]]) -> None:
    """By which the report with somebody's face is found again, for its faces have no names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("channel", "identity"), *verified])


def refuse_if_full(folder: Path, learner: Learner) -> None:
    """Raises TrainingError where the model will not fit, before hours are spent on it."""
    room.refuse_if_full(folder, _bytes_of_model(learner))


def _bytes_of_model(learner: Learner) -> int:
    network = sum(value.nbytes for value in learner.backbone.state_dict().values())
    return int(COPIES * network + 4 * learner.head.classes * learner.head.centres.shape[1])


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
        aligned_by=data.decoded.aligned.by if data.decoded and data.decoded.aligned else "",
    )
