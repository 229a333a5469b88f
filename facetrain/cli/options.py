"""Options that many commands share, and the connection they lead to."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from facetrain.client import Connection, Deployment

DEFAULT_STAGE = "dev"

Stage = Annotated[
    str | None,
    typer.Option(
        "--stage",
        envvar="FACETRAIN_STAGE",
        metavar="STAGE",
        help=f"The deployment to use.  [default: {DEFAULT_STAGE}]",
        show_default=False,
    ),
]
Local = Annotated[
    bool,
    typer.Option("--local", help="Use the cloud on this machine (`facetrain local up`).", show_default=False),
]
Cloud = Annotated[
    str | None,
    typer.Option(
        "--cloud",
        envvar="FACETRAIN_LOCAL",
        metavar="NAME",
        help="As --local, with the cloud of this name.",
        show_default=False,
    ),
]
RunnerName = Annotated[
    str | None,
    typer.Option(
        "--runner",
        metavar="process|docker",
        help="What jobs run as; docker builds the image first.  [default: as before, else process]",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.", show_default=False)]


def connection(
    local: bool, cloud: str | None, stage: str | None, patient: bool = True
) -> "tuple[Connection, str]":
    """Where AWS is, and the stage to look for there: AWS itself, or a cloud on this machine."""
    from facetrain.client import Connection

    if not (local or cloud):
        return Connection(patient=patient), stage or DEFAULT_STAGE
    from facetrain.local.cloud import DEFAULT_NAME, find

    environment = find(cloud or DEFAULT_NAME).environment()
    return Connection(environment, patient=patient), environment["FACETRAIN_STAGE"]


def deployment(local: bool, cloud: str | None, stage: str | None) -> "Deployment":
    """The deployment that the options name."""
    from facetrain.client import discover

    return discover(*connection(local, cloud, stage))
