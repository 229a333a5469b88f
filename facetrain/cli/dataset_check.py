"""`dataset check`."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for numpy

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facetrain.cli import dataset_check_boxes, output
from facetrain.cli.options import AsJson

if TYPE_CHECKING:
    from rich.progress import Progress

NEEDED = ("numpy", "PIL", "simplejpeg", "yaml")
BAR = 40  # characters of the longest bar of the histogram

Report = Mapping[str, Any]


def check(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folders of identities, images with labels.csv, shards, .rec files, pictures with YOLO's "
            "label files, or a dataset's folder.",
            show_default=False,
        ),
    ],
    *,
    images_per_second: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="What the log of your earlier job says: to estimate the training.",
            show_default=False,
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What it is for, such as yolov5; else the folder's manifest or its label files say.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a dataset holds, and what of it would harm training. Exits with 1 where something would."""
    from facetrain.errors import OperationError

    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise OperationError(
            f"checking takes {', '.join(missing)}, not installed here: `pip install 'facetrain[data]'`, "
            f"or `make setup` in a checkout"
        )
    from facetrain.datasets.boxes.folder import detection_in
    from facetrain.datasets.boxes.report import check_boxes
    from facetrain.datasets.check.report import check as check_folder

    with output.refusals(as_json), output.progress(things=True) as bars:
        detection = detection_in(directory, algorithm)
        if detection is not None:
            report = check_boxes(directory, detection, _Bar(bars))
        else:
            report = check_folder(directory, _Bar(bars), images_per_second)
    if as_json:
        output.put_json(report)
    elif detection is not None:
        dataset_check_boxes.put(report)
    else:
        _put(report)
    if report["harm"]:
        raise typer.Exit(output.FAILED)


class _Bar:
    """Shows how far the check has come."""

    def __init__(self, bars: "Progress"):
        self.bars, self.task = bars, bars.add_task("reading", total=None)

    def start(self, images: int) -> None:
        self.bars.update(self.task, total=images)

    def advance(self, images: int) -> None:
        self.bars.advance(self.task, images)

    def stage(self, name: str) -> None:
        self.bars.update(self.task, description=name)


def _put(report: Report) -> None:
    output.put_fields({name: output.visible(str(value)) for name, value in _figures(report)})
    bars = report["images_per_identity"]["histogram"]
    most = max(bar["identities"] for bar in bars)
    output.put("\nimages of one identity")
    for bar in bars:
        length = -(-BAR * bar["identities"] // most)
        output.put(f"{bar['images']:>9}  {bar['identities']:>9,}  {'█' * length}".rstrip())
    details = {title: {"listed": lines, "count": count} for title, lines, count in _details(report)}
    dataset_check_boxes.put_details(details)
    dataset_check_boxes.put_sentences(report)


def _figures(report: Report) -> Iterator[tuple[str, object]]:
    each, sizes, formats = report["images_per_identity"], report["sizes"], report["formats"]
    yield "images", f"{report['images']:,}"
    yield "identities", f"{report['identities']:,}"
    yield "of one identity", f"{each['min']:,} to {each['max']:,} images, median {each['median']:g}"
    yield "bytes", f"{output.size(report['bytes'])} in {report['files']:,} file{'s' * (report['files'] != 1)}"
    yield "formats", ", ".join(f"{name} {count:,}" for name, count in formats.items())
    kinds = ("112x112", "smaller", "larger", "not_square")
    yield "sizes", ", ".join(f"{sizes[kind]:,} {kind.replace('_', ' ')}" for kind in kinds)
    yield "commonest", ", ".join(f"{name} ({count:,})" for name, count in [*sizes["commonest"].items()][:5])
    yield "unreadable", f"{report['unreadable']:,}"
    yield from _copies(report)
    if gaps := report["class_gaps"]:
        yield "classes", f"{gaps['classes']:,}, of which {gaps['missing']:,} have no image"
    yield "download", _time(report["download"])
    for number, estimate in enumerate(report["training"]):
        yield f"training{' (other)' * bool(number)}", f"{estimate['epochs']} epochs: {_time(estimate)}"


def _copies(report: Report) -> Iterator[tuple[str, str]]:
    groups, near, leaks = report["duplicate_groups"], report["near_duplicates"], report["leaks"]
    within, across = groups["within_identities"], groups["across_identities"]
    copies = f"{report['duplicates']:,} further copies"
    yield "duplicates", f"{copies}, of {within:,} images within identities, of {across:,} across them"
    more = f"; {near['not_compared']:,} not compared" if near["not_compared"] else ""
    yield "near-duplicates", f"{near['pairs']:,} pairs, {near['across_identities']:,} across identities{more}"
    if (validation := report["validation"])["images"]:
        shared = f"{leaks['images']:,} images, {leaks['identities']:,} identities in training too"
        who = f"{validation['images']:,} images, {validation['identities']:,} identities"
        yield "validation", f"{who}; {shared}"


def _time(estimate: Report) -> str:
    known = estimate["seconds"] is not None
    return f"{output.duration(estimate['seconds'])} ({estimate['basis']})" if known else estimate["basis"]


def _details(report: Report) -> Iterator[tuple[str, Sequence[str], int]]:
    """Lists of files and names, where there are some: a title, lines, and of how many these are the first."""
    unreadable = [f"{one['channel']}/{one['file']} {one['reason']}" for one in report["unreadable_files"]]
    names = [f'"{one["name"]}" {one["reason"]}' for one in report["names"]["listed"]]
    groups, near, leaks = report["duplicate_groups"], report["near_duplicates"], report["leaks"]
    gaps = report["class_gaps"] or {"first": [], "missing": 0}
    index = report["index"] or {"listed": [], "damaged": 0}
    changed = [f"{one['name']} {one['reason']}" for one in index["listed"]]
    copies = groups["within_identities"] + groups["across_identities"]
    lists = (
        ("unreadable", unreadable, report["unreadable"]),
        ("not as the index says", changed, index["damaged"]),
        ("the same image", [_line(group) for group in groups["listed"]], copies),
        ("nearly the same image", [_line(group) for group in near["listed"]], near["pairs"]),
        (
            "in training and validation",
            [_line(one) for one in leaks["listed"]],
            leaks["images"] + leaks["near"],
        ),
        ("identities in training and validation", leaks["listed_identities"], leaks["identities"]),
        ("folders without an image", report["empty_folders"]["listed"], report["empty_folders"]["count"]),
        ("names", names, report["names"]["count"]),
        ("classes without an image", gaps["first"], gaps["missing"]),
    )
    yield from (one for one in lists if one[2])


def _line(group: Report) -> str:
    more = group["images"] - min(3, len(group["files"]))
    return " = ".join(group["files"][:3]) + (f" and {more:,} more" if more else "")
