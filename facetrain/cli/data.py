"""`dataset push`, `dataset generate` and `submit`: what starts training."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facetrain.cli import dataset_boxes, dataset_check, dataset_pack, dataset_prepare, output
from facetrain.cli.options import AsJson, Cloud, Local, Stage, connection, deployment
from training.formats.words import many
from training.jobs.algorithms import ALGORITHMS

if TYPE_CHECKING:
    from facetrain.dataset import Plan, Pushed
    from facetrain.submit import Started

dataset = typer.Typer(
    name="dataset",
    help="Make datasets and put them into S3.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
dataset.command()(dataset_prepare.prepare)
dataset.command()(dataset_boxes.boxes)
dataset.command(name="check")(dataset_check.check)
dataset.command()(dataset_pack.pack)
dataset.command()(dataset_pack.unpack)


def submit(
    address: Annotated[
        str, typer.Argument(metavar="MANIFEST", help="A file, or s3://bucket/key.", show_default=False)
    ],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the request as JSON and send nothing; needs no cloud.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="The dataset of a local manifest.  [default: its folder's name]",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    stage: Stage = None,
    local: Local = False,
    cloud: Cloud = None,
) -> None:
    """Start the job of one manifest, whose data is in S3 already."""
    from facetrain.submit import request_of
    from facetrain.submit import submit as start

    with output.refusals(as_json):
        if dry_run:
            found, named = connection(local, cloud, stage, patient=False)
            output.put_json(request_of(address, name, found, named, output.say))
            return
        started = start(address, name, deployment(local, cloud, stage))
    if as_json:
        output.put_json(dataclasses.asdict(started))
    else:
        _tell(started)


@dataset.command()
def push(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folders of photographs, shards, .rec files, or a detector's pictures.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What to call the dataset.", show_default=False)
    ],
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A hyperparameter; may be repeated.", show_default=False
        ),
    ] = None,
    governance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Of the data's basis, such as legal_basis=consent; may be repeated.",
            show_default=False,
        ),
    ] = None,
    input_mode: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="File: the job copies its images to the disk first. FastFile: it reads them from S3.  "
            "[default: FastFile for shards and .rec files]",
            show_default=False,
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"What is trained where the folder has no manifest: {' or '.join(ALGORITHMS)}.  "
            f"[default: {next(iter(ALGORITHMS))}]",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and upload nothing.")] = False,
    as_json: AsJson = False,
    stage: Stage = None,
    local: Local = False,
    cloud: Cloud = None,
) -> None:
    """Put a folder of photographs into S3; its manifest goes last and starts the training job."""
    from facetrain import dataset as datasets
    from facetrain.folder import check_dataset_name, read_folder
    from facetrain.governance import block
    from facetrain.storage import Store

    with output.refusals(as_json):
        check_dataset_name(name, "NAME")
        folder = read_folder(directory, settings or [], block(governance or []), input_mode, algorithm)
        deployed = deployment(local, cloud, stage)
        store = Store(deployed.s3)
        planned = datasets.plan(folder, name, deployed.platform, store)
    _announce(planned)
    if dry_run:
        if as_json:
            output.put_json(
                {"manifest": str(planned.location), "files": len(folder.files), "bytes": planned.bytes}
            )
        return
    with output.progress() as bar:
        task = bar.add_task(f"{name}", total=planned.bytes)
        pushed = datasets.push(
            planned, deployed.platform, store, lambda count: bar.advance(task, count), output.say
        )
    if as_json:
        output.put_json(dataclasses.asdict(pushed))
    else:
        _report(pushed)


@dataset.command()
def generate(
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A new folder.", show_default=False)],
    identities: Annotated[int, typer.Option(min=1, max=100_000, help="How many people.")] = 40,
    images: Annotated[int, typer.Option(min=1, max=10_000, help="Pictures of each.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another population.")] = 0,
) -> None:
    """Draw faces of people who do not exist: a dataset to try things with."""
    from facetrain.errors import InputError
    from facetrain.faces import write_folders

    try:
        write_folders(destination, identities, images, seed)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError.because("DEST", str(error)) from None
    output.say(f"{many(identities * images, 'picture')} of {identities} people in {destination}")


def _tell(started: "Started") -> None:
    output.put_fields(
        {
            "name": started.job_name,
            "status": started.status,
            "model": started.model,
            "arn": started.job_arn,
        }
    )
    output.say(started.message or f"follow it: facetrain logs -f {started.job_name}")


_FEW = 1000


def _announce(planned: "Plan") -> None:
    people = planned.people
    who = f"{many(len(people), 'identity')}, " if people else ""
    if planned.packed:
        who = f"{many(planned.packed.images)} of {many(planned.packed.identities, 'identity')}, "
    files = many(len(planned.folder.files), "file")
    output.say(f"{planned.manifest.dataset}: {who}{files}, {output.size(planned.bytes)}")
    output.say(f"trains: {planned.training}")
    if planned.forgotten:
        output.say(f"note: {planned.forgotten}")
    single = [name for name, pictures in people.items() if pictures == 1]
    if single:
        output.say(
            f"note: {many(len(single), 'identity')} of {len(people)} with one picture, which teaches little "
            f"(such as {single[0]})"
        )
    loose = sum(people.values())
    if planned.is_streamed and loose > _FEW:
        output.say(
            f"note: {loose:,} single files are as many requests to S3, which takes long: pack them first "
            "(facetrain dataset pack), or leave --input-mode out"
        )
    empty = [file.key for file in planned.folder.files if not file.size]
    if empty:
        output.say(f"note: {many(len(empty), 'empty file')} will be passed over (such as {empty[0]})")
    if planned.strays:
        output.say(
            f"note: S3 holds {many(len(planned.strays), 'more object')} in this dataset's channels, "
            f"which will be trained on too (such as {planned.strays[0]})"
        )


def _report(pushed: "Pushed") -> None:
    unchanged = f", {pushed.unchanged} unchanged" if pushed.unchanged else ""
    resumed = f", {output.size(pushed.resumed)} of them sent before" if pushed.resumed else ""
    output.say(
        f"{many(pushed.uploaded, 'file')} uploaded ({output.size(pushed.bytes)}{resumed}){unchanged}; "
        "the manifest came last"
    )
    output.put_fields({"name": pushed.job_name, "manifest": pushed.manifest, "model": pushed.model})
    output.say(f"training starts within seconds; follow it: facetrain logs -f {pushed.job_name}")
    output.say(f"and see how good it is: facetrain report {pushed.job_name}")
