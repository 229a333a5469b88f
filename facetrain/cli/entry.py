"""Where the command begins: its commands put together, and every error turned into one message and a code."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

import os
import sys
from collections.abc import Sequence

import typer
from typer.main import get_command

from facetrain.cli import data, inputs, jobs, local, output
from facetrain.cli.demo import demo
from facetrain.cli.doctor import doctor
from facetrain.cli.forget import forget
from facetrain.cli.report import report
from facetrain.cli.verify import verify
from facetrain.errors import OperationError
from training.jobs.problems import ProblemsError

app = typer.Typer(
    name="facetrain",
    help="Train face recognition: drop a dataset in S3, get a trained and evaluated model back. "
    "On AWS, or with --local on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.add_typer(local.app)
app.add_typer(data.dataset)
app.command()(data.submit)
app.add_typer(inputs.app)
app.command(name="jobs")(jobs.list_jobs)
app.command()(jobs.show)
app.command()(jobs.logs)
app.command()(report)
app.command()(verify)
app.command()(jobs.stop)
app.command()(forget)
app.command()(doctor)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits: 0 done, 1 failed, 2 input refused, 130 interrupted."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code; whatever a user can mend is said in one message."""
    return conduct(app, arguments, "facetrain")


def conduct(app: typer.Typer, arguments: Sequence[str] | None, name: str) -> int:
    """The same for any command of ours, which is called `name`."""
    try:
        get_command(app)(args=arguments, prog_name=name)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except ProblemsError as error:
        return output.refuse(error)
    except OperationError as error:
        return output.fail(str(error), name)
    except Exception as error:
        if message := _known(error):
            return output.fail(message, name)
        raise
    return 0


def _known(error: Exception) -> str | None:
    """What to say of an error of boto3's or the local cloud's; neither is imported only to ask."""
    if "botocore" in sys.modules:
        from botocore.exceptions import BotoCoreError, ClientError

        from facetrain.client import explain

        if isinstance(error, BotoCoreError | ClientError):
            return explain(error)
    if "facetrain.local.errors" in sys.modules:
        from facetrain.local.errors import LocalCloudError

        if isinstance(error, LocalCloudError):
            return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return None
