"""`inputs push`: the folder that jobs by hand begin with."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facetrain.cli import output
from facetrain.cli.options import AsJson, Cloud, Local, Stage, connection
from training.formats.words import many
from training.jobs.algorithms import ALGORITHMS

if TYPE_CHECKING:
    from facetrain.by_hand.sending import Inputs, Sent
    from facetrain.client import Connection
    from training.jobs.uri import S3Uri

app = typer.Typer(
    name="inputs",
    help="Put the inputs folder of jobs by hand into S3.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def inputs() -> None:
    """Put the inputs folder of jobs by hand into S3."""


@app.command()
def push(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A folder with input/data/{cfg,weights}/.", show_default=False),
    ],
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="S3",
            help="Where to put it, such as s3://bucket/sagemaker_training_jobs/yolo-inputs.  "
            "[default: sagemaker_training_jobs/DIR in the deployment's inputs]",
            show_default=False,
        ),
    ] = None,
    *,
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Whose inputs they are: {' or '.join(ALGORITHMS)}; else what lies in cfg says.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and upload nothing.")] = False,
    as_json: AsJson = False,
    stage: Stage = None,
    local: Local = False,
    cloud: Cloud = None,
) -> None:
    """Check an inputs folder, and put it and an archive of it into S3."""
    from facetrain.by_hand import sending
    from facetrain.storage import Store

    with output.refusals(as_json):
        checked = sending.read(directory, algorithm)
        found, named = connection(local, cloud, stage)
        place = _place(target, checked, found, named)
    output.say(f"{checked.name}: inputs of {checked.algorithm}, {many(len(checked.files), 'file')}")
    if dry_run:
        if as_json:
            output.put_json({"inputs": str(place), "files": len(checked.files), "bytes": checked.bytes})
        return
    with output.progress() as bar:
        task = bar.add_task(checked.name, total=checked.bytes)
        sent = sending.push(
            checked, place, Store(found.client("s3")), lambda count: bar.advance(task, count), output.say
        )
    if as_json:
        output.put_json(dataclasses.asdict(sent))
    else:
        _report(sent)


def _place(target: str | None, inputs: "Inputs", found: "Connection", stage: str) -> "S3Uri":
    from facetrain.by_hand.sending import PREFIX
    from facetrain.client import discover
    from facetrain.errors import InputError
    from training.jobs import contract
    from training.jobs.uri import S3Uri

    if target is not None:
        try:
            return S3Uri.parse(target.rstrip("/") + "/")
        except ValueError as error:
            raise InputError.because("S3", str(error)) from None
    bucket = discover(found, stage).platform.inputs_bucket
    return S3Uri(bucket, f"{contract.INPUTS_PREFIX}{PREFIX}{inputs.name}/")


def _report(sent: "Sent") -> None:
    unchanged = f", {sent.unchanged} unchanged" if sent.unchanged else ""
    output.say(f"{many(sent.uploaded, 'file')} uploaded{unchanged}")
    if sent.strays:
        output.say(
            f"note: S3 holds {many(len(sent.strays), 'more object')} there, which jobs will read too "
            f"(such as {sent.strays[0]}): delete those that are no longer meant"
        )
    output.put_fields({"inputs": sent.inputs, "archive": sent.archive, "sha256": sent.sha256})
    order = f"--algorithm {sent.algorithm} --inputs {sent.inputs} --images …"
    output.say(f"train with it: python training_job.py {order}")
