"""`dataset pack` and `dataset unpack`: a dataset to shards, and back."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for numpy

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from facetrain.cli import output
from facetrain.cli.options import AsJson

_SHOWN = 10  # files or names said on the screen; all are in a table

Destination = Annotated[
    Path, typer.Argument(metavar="DEST", help="A new folder, or an empty one.", show_default=False)
]


def pack(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="Folders of one identity each, images and a table, a train.rec, or shards.",
            show_default=False,
        ),
    ],
    destination: Destination,
    *,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Whose the images are: file,identity, or CelebA's list.  [default: labels.csv in SRC]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another order.")] = 0,
    shard_mb: Annotated[
        int, typer.Option("--shard-mb", min=1, max=256, help="Size of a shard in MB, at the most.")
    ] = 192,
    as_json: AsJson = False,
) -> None:
    """Pack a dataset into shards: shuffled, with an index and checksums; images stay as they are."""
    from facetrain.datasets.pack import MEGABYTE
    from facetrain.datasets.pack import pack as run

    with output.refusals(as_json), _counter("packing") as (begun, advance):
        done = run(
            source,
            destination,
            labels,
            seed=seed,
            shard_bytes=shard_mb * MEGABYTE,
            begun=begun,
            packed=advance,
        )
    index = done.index
    for note in done.notes:
        if not note.startswith(("shards=", "record_files=")):
            output.say(f"note: {note}")
    _say_left_out(done.left_out, done.first_left_out, f"all in {destination / 'left_out.csv'}")
    summary = {
        "images": index.images,
        "identities": index.identities,
        "shards": len(index.shards),
        "bytes": index.bytes,
        "left_out": done.left_out,
    }
    if as_json:
        output.put_json(summary)
        return
    output.put_fields({**summary, "bytes": output.size(index.bytes)})
    output.say(f"packed into {destination}; next: facetrain dataset push {destination} NAME")


def unpack(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="A folder of shards or with a train.rec, one such file, or a verification .bin.",
            show_default=False,
        ),
    ],
    destination: Destination,
    *,
    as_json: AsJson = False,
) -> None:
    """Unpack shards, a .rec or a .bin: a folder per identity, or pictures and their pairs.csv."""
    from facetrain.datasets import unpack as unpacking

    with output.refusals(as_json), _counter("unpacking") as (begun, advance):
        if source.suffix.lower() == unpacking.BIN_SUFFIX and source.is_file():
            done = unpacking.unpack_pairs(source, destination)
        else:
            done = unpacking.unpack(source, destination, begun, advance)
    _say_left_out(len(done.left_out), done.left_out, "")
    for identity, folder in list(done.renamed.items())[:_SHOWN]:
        output.say(f"note: {identity!a} cannot name a folder: its images are in {folder}")
    if len(done.renamed) > _SHOWN:
        output.say(f"note: {len(done.renamed)} are renamed, all in {destination / unpacking.RENAMED_NAME}")
    if as_json:
        output.put_json({**dataclasses.asdict(done), "left_out": len(done.left_out)})
        return
    output.put_fields({"images": done.images, "identities": done.identities or None})
    checked = ", every checksum right" if done.verified else ""
    output.say(f"unpacked into {destination}{checked}")


def _say_left_out(count: int, some: Sequence[tuple[str, str]], where: str) -> None:
    for file, reason in some[:_SHOWN]:
        output.say(f"left out: {file} {reason}")
    if count > _SHOWN:
        output.say(f"left out: {count} in all{f', {where}' if where else ''}")


@contextmanager
def _counter(what: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """A bar on stderr that counts images: hears first how many there are, then of each that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield (
            lambda total: bar.update(task, total=total),
            lambda count: bar.advance(task, count),
        )
