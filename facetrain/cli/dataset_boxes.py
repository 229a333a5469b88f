"""`dataset boxes`: the boxes of `dataset prepare` as data for a detector."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for Pillow

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from facetrain.cli import output
from facetrain.cli.options import AsJson
from training.formats.words import many


def boxes(
    source: Annotated[
        Path,
        typer.Argument(metavar="SRC", help="The photos, as `prepare` was given them.", show_default=False),
    ],
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="A new folder, or an empty one.", show_default=False)
    ],
    *,
    table: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="The .prepare/prepare.csv that `prepare` left.", show_default=False
        ),
    ],
    val_fraction: Annotated[
        float,
        typer.Option(min=0, max=0.9, help="Share of the people to measure on; 0: the job keeps its own."),
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Another seed chooses other people.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make YOLO's pictures and labels of the boxes that `prepare` found, to train a detector on."""
    from facetrain.datasets.boxes.drawing import draw
    from facetrain.datasets.prepare.needs import check_packages

    check_packages(networks=False)
    with output.refusals(as_json), output.progress(things=True) as bar:
        task = bar.add_task("photos", total=None)
        drawn = draw(
            source,
            destination,
            table,
            val_fraction=val_fraction,
            seed=seed,
            done=lambda count, of: bar.update(task, completed=count, total=of),
        )
    if as_json:
        output.put_json(dataclasses.asdict(drawn))
        return
    output.say(f"{many(drawn.train + drawn.val, 'picture')} with a face each in {destination}")
    if drawn.left_out:
        output.say(
            f"note: left out {many(drawn.left_out, 'photo')}: dropped, or with several faces, of "
            "which only one has its box in the table"
        )
    if drawn.unreadable:
        output.say(f"note: left out {many(len(drawn.unreadable), 'photo')} (such as {drawn.unreadable[0]})")
    output.put_fields({"train": drawn.train, "val": drawn.val})
    output.say(
        f"next: facetrain dataset check {destination}; then facetrain dataset push {destination} NAME "
        "--algorithm yolov5"
    )
