"""`dataset prepare`: photos to aligned faces."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for numpy

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facetrain.cli import output
from facetrain.cli.options import AsJson
from training.formats.words import many

if TYPE_CHECKING:
    from facetrain.datasets.prepare.command import Prepared


class Form(StrEnum):
    """What faces are written as."""

    JPEG = "jpeg"
    PNG = "png"


def prepare(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="A folder of photos for each person.", show_default=False)
    ],
    destination: Annotated[
        Path,
        typer.Argument(metavar="DEST", help="A new folder, or one to go on with.", show_default=False),
    ],
    *,
    detector: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A face detector (.onnx): SCRFD with landmarks, or one that a YOLOv5 job left.",
            show_default=False,
        ),
    ] = None,
    landmarks: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Instead: CelebA's list, CSV, or an InsightFace list.", show_default=False
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Whose each photo is, where folders do not say it.", show_default=False
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A recognition model (.onnx), to look for mislabelled photos.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", help="JPEG of quality 95 with all colours, or PNG.")
    ] = Form.JPEG,
    min_eyes: Annotated[
        float, typer.Option(min=1, metavar="PIXELS", help="Faces with less between the eyes are dropped.")
    ] = 8.0,
    processes: Annotated[
        int, typer.Option(min=0, metavar="COUNT", help="0: one for each core.", show_default=False)
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Make aligned 112x112 faces of photos. Run it again to go on after an interruption."""
    from facetrain.datasets.prepare.needs import check_packages

    check_packages(networks=bool(detector or model))
    with output.refusals(as_json):
        prepared = _run(
            source=source,
            destination=destination,
            detector=detector,
            landmarks=landmarks,
            labels=labels,
            model=model,
            form=form.value,
            min_eyes=min_eyes,
            processes=processes,
        )
    if as_json:
        output.put_json(_figures(prepared, looked=model is not None))
    else:
        _tell(prepared, destination, looked=model is not None)
    if not prepared.kept:
        raise typer.Exit(output.FAILED)


def _run(**wanted: object) -> "Prepared":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from facetrain.datasets.prepare.command import Wanted, prepare

    console = Console(stderr=True)
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("photos", total=None)
        return prepare(
            Wanted(**wanted),  # type: ignore[arg-type]  # the options, by their names
            lambda count, of: bar.update(task, completed=count, total=of),
        )


def _tell(prepared: "Prepared", destination: Path, looked: bool) -> None:
    from training.formats.faces import REASONS

    output.say(
        f"{prepared.kept} of {prepared.photos} photos became faces of "
        f"{many(prepared.identities, 'identity')} in {destination}"
        + (f" ({prepared.found_before} done before)" if prepared.found_before else "")
    )
    if prepared.boxes_alone:
        output.say(
            "note: the detector finds boxes and no landmarks: faces are cut by their boxes and not turned"
        )
    if prepared.dropped:
        rows = [[str(count), reason, REASONS[reason]] for reason, count in prepared.dropped.items()]
        output.put_table(["dropped", "reason", ""], rows)
    if prepared.others:
        output.say(f"note: passed over {many(prepared.others, 'file')} without a picture")
    if prepared.links:
        output.say(f"note: did not follow {many(prepared.links, 'link')} to folders or out of SRC")
    if missing := prepared.landmarks_without_photo:
        output.say(f"note: no photo for {many(len(missing), 'line')} of landmarks (such as {missing[0]})")
    if prepared.removed:
        output.say(f"note: removed {many(prepared.removed, 'face')} of photos that are gone or changed")
    _tell_suspects(prepared, looked=looked)
    output.put_fields({"table": prepared.table, "sample": prepared.sheet})


def _tell_suspects(prepared: "Prepared", looked: bool) -> None:
    for kind, what in (
        ("near_duplicate", "like another one of the same identity"),
        ("mislabel", "like somebody of another identity"),
    ):
        if found := [one for one in prepared.suspects if one.kind == kind]:
            first = found[0]
            output.say(
                f"note: {many(len(found), 'photo')} {what} (such as {first.file} and {first.other}): "
                "see suspects.csv"
            )
    if not looked:
        output.say("mislabelled photos were not looked for: that takes a recognition model (--model)")


def _figures(prepared: "Prepared", looked: bool) -> dict[str, object]:
    kinds = Counter(one.kind for one in prepared.suspects)
    return {
        "photos": prepared.photos,
        "kept": prepared.kept,
        "identities": prepared.identities,
        "dropped": prepared.dropped,
        "done_before": prepared.found_before,
        "other_files": prepared.others,
        "removed": prepared.removed,
        "links_not_followed": prepared.links,
        "boxes_alone": prepared.boxes_alone,
        "landmarks_without_photo": len(prepared.landmarks_without_photo),
        "near_duplicates": kinds["near_duplicate"],
        "mislabels": kinds["mislabel"] if looked else None,
        "table": str(prepared.table),
        "sample": str(prepared.sheet) if prepared.sheet else None,
    }
