"""`report`."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

from pathlib import Path
from typing import Annotated

import typer

from facetrain.cli import output
from facetrain.cli.options import AsJson, Cloud, Local, Stage, deployment

Job = Annotated[
    str | None,
    typer.Argument(
        metavar="JOB",
        help="The job's name, or a beginning of it that no other has; without it, the newest job.",
        show_default=False,
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the page is put.")]
Open = Annotated[bool, typer.Option("--open/--no-open", help="Show it in the browser.")]


def report(
    job: Job = None,
    *,
    output_folder: Output = Path("reports"),
    show: Open = True,
    as_json: AsJson = False,
    stage: Stage = None,
    local: Local = False,
    cloud: Cloud = None,
) -> None:
    """Fetch a finished job's report and open it in the browser."""
    from facetrain import reports
    from facetrain.forgetting import marks
    from facetrain.jobs import describe, resolve

    with output.refusals(as_json):
        deployed = deployment(local, cloud, stage)
        name = resolve(deployed, job) if job else reports.newest(deployed)
    path = reports.fetch(deployed, name, output_folder)
    forgotten = marks.of_job(deployed.s3, describe(deployed, name))
    if as_json:
        output.put_json({"job": name, "report": str(path), "forgotten": forgotten})
    else:
        output.put(str(path))
    if forgotten:
        output.say(f"{name}: its model {forgotten}")
    if show and not _open(path):
        output.say("no browser could be started here: open the file with one")


def _open(path: Path) -> bool:
    import webbrowser

    return webbrowser.open(path.resolve().as_uri())
