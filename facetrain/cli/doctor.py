"""`doctor`: what is missing before a first job."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

import dataclasses
from typing import Annotated

import typer

from facetrain.cli import output
from facetrain.cli.options import AsJson, Cloud, Local, Stage, connection


def doctor(
    *,
    instance_type: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE", help="Whose quota to look at.  [default: the deployment's]", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    stage: Stage = None,
    local: Local = False,
    cloud: Cloud = None,
) -> None:
    """Look for what a first job most often lacks. Exits with 1 where something must be mended."""
    from facetrain.doctor import FAIL, examine

    found, named = connection(local, cloud, stage, patient=False)
    checks = []
    for check in examine(found, named, instance_type):
        checks.append(check)
        if not as_json:
            output.put(f"{check.status:<8} {check.name:<16} {check.detail}")
            if check.remedy:
                output.put(f"{'':<25} {check.remedy}")
    if as_json:
        output.put_json([dataclasses.asdict(check) for check in checks])
    if any(check.status == FAIL for check in checks):
        raise typer.Exit(output.FAILED)
