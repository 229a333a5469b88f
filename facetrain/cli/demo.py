"""`demo`: the whole path on this machine, from faces to a measured model."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

import dataclasses
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facetrain.cli import output
from facetrain.cli.options import AsJson

if TYPE_CHECKING:
    from facetrain.demo import Outcome
    from facetrain.jobs import LogLine


def demo(
    *,
    faces: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Photographs, one folder per person.  [default: drawn faces of nobody]",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cloud running afterwards.")] = False,
    name: Annotated[str, typer.Option(help="The cloud on this machine to use.")] = "demo",
    as_json: AsJson = False,
) -> None:
    """Try everything on this machine: a cloud, a dropped dataset, the job it starts, its model's worth."""
    from facetrain.demo import run

    with output.refusals(as_json), _ended_by_termination(), _View() as view:
        outcome = run(faces, name, keep, view.step, view.event)
    if as_json:
        output.put_json(dataclasses.asdict(outcome))
    else:
        _report(outcome, name, keep)
    if outcome.status != "Completed":
        raise typer.Exit(output.FAILED)


@contextmanager
def _ended_by_termination() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that the cloud is taken down."""
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _View:
    """What happens, line by line on stderr; on a terminal a spinner stays below and says what goes on."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False, markup=False)
        self._status = self._console.status("")

    def __enter__(self) -> "_View":
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def step(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)
        self._status.update(f"{line} …")

    def event(self, event: "LogLine | Mapping[str, Any]") -> None:
        if isinstance(event, Mapping):
            secondary = event.get("SecondaryStatus") or event["TrainingJobStatus"]
            self.step(f"The job: {secondary}")
        elif self._console.is_terminal:  # as much of a line as fits
            self._console.print(f"  {event.message}", no_wrap=True, overflow="ellipsis")
        else:
            self._console.print(f"  {event.message}", soft_wrap=True)


def _report(outcome: "Outcome", name: str, keep: bool) -> None:
    before, after = outcome.accuracy_before_training, outcome.accuracy
    worth = "not measured: too few pictures were kept out of training" if outcome.model else None
    if after is not None and before is not None:
        worth = f"{after:.1%} on identities never trained on ({before:.1%} before training)"
    times = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in outcome.seconds.items())
    output.put_fields(
        {
            "job": outcome.job_name,
            "status": outcome.status,
            "reason": outcome.failure_reason,
            "model": outcome.model,
            "accuracy": worth,
            "time": f"{sum(outcome.seconds.values()):.0f} s ({times})",
        }
    )
    if keep:
        output.say(f'the cloud "{name}" goes on running: facetrain local down --name {name} stops it')
