"""`demo`: the whole path on this machine, from faces to a measured model."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facetrain.cli import output
from facetrain.cli.options import AsJson, RunnerName

if TYPE_CHECKING:
    from facetrain.demo import Outcome
    from facetrain.jobs import LogLine
    from facetrain.pretrain import Comparison


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
    pretrain: Annotated[
        bool,
        typer.Option(
            "--pretrain",
            help="Train on drawn faces first, then on yours from there, and compare with yours alone.",
        ),
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cloud running afterwards.")] = False,
    name: Annotated[str, typer.Option(help="The cloud on this machine to use.")] = "demo",
    runner: RunnerName = None,
    as_json: AsJson = False,
) -> None:
    """Try everything on this machine: a cloud, a dropped dataset, the job it starts, its model's worth."""
    work: Callable[[Path | None, str, bool, str | None, _View], Any] = _compare if pretrain else _train
    report: Callable[[Any], None] = _report_comparison if pretrain else _report
    with output.refusals(as_json), _ended_by_termination(), _View() as view:
        outcome = work(faces, name, keep, runner, view)
    if as_json:
        output.put_json(dataclasses.asdict(outcome))
    else:
        report(outcome)
        if keep:
            output.say(f'the cloud "{name}" goes on running: facetrain local down --name {name} stops it')
    if not outcome.completed:
        raise typer.Exit(output.FAILED)


def _train(faces: Path | None, name: str, keep: bool, runner: str | None, view: "_View") -> "Outcome":
    from facetrain.demo import run

    return run(faces, name, keep, view.step, view.event, runner=runner)


def _compare(faces: Path | None, name: str, keep: bool, runner: str | None, view: "_View") -> "Comparison":
    from facetrain.errors import InputError
    from facetrain.pretrain import run

    if faces is None:
        raise InputError.because("--pretrain", "needs --faces DIR: the photographs to fine-tune on")
    return run(faces, name, keep, view.step, view.event, runner=runner)


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


def _report(outcome: "Outcome") -> None:
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
            "image": outcome.image,
            "model": outcome.model,
            "report": outcome.report,
            "accuracy": worth,
            "time": f"{sum(outcome.seconds.values()):.0f} s ({times})",
        }
    )


def _report_comparison(compared: "Comparison") -> None:
    """One line for each way to train: on people whom neither has seen, the same ones."""
    shown = {"from scratch": compared.from_scratch, "fine-tuned": compared.fine_tuned}
    rows = [
        (
            way,
            job.job_name,
            job.status,
            *(_percent(figure) for figure in (job.accuracy, job.eer, job.tar_at_far_1e_2)),
        )
        for way, job in {"pretraining": compared.pretraining, **shown}.items()
        if job.job_name
    ]
    output.put_table(("", "name", "status", "accuracy", "EER", "TAR at FAR 1e-2"), rows)
    for job in compared.jobs:
        if job.report:
            output.put(f"report  {job.report}")
        if job.failure_reason:
            output.say(f"{job.job_name}: {job.failure_reason}")


def _percent(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.1%}"
