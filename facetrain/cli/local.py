"""`local up | down | status | env`: AWS on this machine."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

from typing import Annotated

import typer

from facetrain.cli import output
from facetrain.cli.options import AsJson, RunnerName

app = typer.Typer(
    name="local",
    help="AWS on this machine, with no account: the same stacks, the same launcher.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Name = Annotated[
    str, typer.Option("--name", envvar="FACETRAIN_LOCAL", help="Which cloud; several can run side by side.")
]


@app.command()
def up(
    name: Name = "default",
    runner: RunnerName = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Of the gateway.  [default: a free one]", show_default=False),
    ] = None,
    algorithm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Whose image to build as well, for --runner docker; may be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start the cloud and deploy the stacks into it; harmless where both are done."""
    from facetrain.local import cloud

    found = cloud.up(name, progress=output.say, runner=runner, port=port, algorithms=algorithm or ())
    output.say(f'the cloud "{found.name}" is up at {found.endpoint}')
    named = "" if name == cloud.DEFAULT_NAME else f" --name {name}"
    output.say(
        f'point any AWS client at it: eval "$(facetrain local env{named})"; '
        f"stop it: facetrain local down{named}"
    )


@app.command()
def down(
    name: Name = "default",
    delete: Annotated[bool, typer.Option("--delete", help="Remove what it holds as well.")] = False,
) -> None:
    """Stop the cloud and its jobs."""
    from facetrain.local import cloud

    ran = cloud.down(name, delete=delete)
    output.say(
        f'the cloud "{name}" {"is stopped" if ran else "was not running"}{" and deleted" if delete else ""}'
    )


@app.command()
def status(name: Name = "default", as_json: AsJson = False) -> None:
    """Show what is there of the cloud. Exits with 1 where it does not run."""
    from facetrain.local import cloud

    found = cloud.status(name)
    if as_json:
        output.put(found.to_json())
    else:
        state = "running" if found.running else "stopped"
        output.put_fields(
            {
                "name": found.name,
                "state": state + ("" if found.deployed else ", not deployed"),
                "runner": found.runner,
                "endpoint": found.endpoint,
                "sagemaker": found.sagemaker_endpoint,
                "jobs": ", ".join(found.running_jobs),
                "files": found.home,
            }
        )
    if not found.running:
        raise typer.Exit(output.FAILED)


@app.command()
def env(name: Name = "default") -> None:
    """Print the variables that point any AWS client at the cloud: eval "$(facetrain local env)"."""
    from facetrain.local import cloud

    output.put(cloud.find(name).shell_exports().rstrip("\n"))
