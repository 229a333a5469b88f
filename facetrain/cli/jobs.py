"""`jobs`, `show`, `logs`, `stop`."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facetrain.cli import output
from facetrain.cli.options import AsJson, Cloud, Local, Stage, deployment

if TYPE_CHECKING:
    from facetrain.client import Deployment
    from facetrain.jobs import LogLine

Job = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="The job's name, or a beginning of it that no other has.", show_default=False
    ),
]


def list_jobs(
    *,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1000, help="How many, newest first.")
    ] = 20,
    status: Annotated[
        str | None,
        typer.Option(help="Only InProgress, Completed, Failed, Stopping or Stopped.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    stage: Stage = None,
    local: Local = False,
    cloud: Cloud = None,
) -> None:
    """List training jobs, newest first."""
    from facetrain.jobs import recent

    found = recent(deployment(local, cloud, stage), limit, status)
    if as_json:
        output.put_json(found)
        return
    if not found:
        output.say("no jobs yet: `facetrain dataset push DIR NAME` starts one")
        return
    output.put_table(
        ("name", "status", "secondary", "started", "duration", "dataset"), [_row(job) for job in found]
    )
    for job in found:
        _warn(job)


def show(
    job: Job, *, as_json: AsJson = False, stage: Stage = None, local: Local = False, cloud: Cloud = None
) -> None:
    """Show one job: its state, times, metrics, and where its model is."""
    from facetrain.jobs import resolve, shown

    with output.refusals(as_json):
        deployed = deployment(local, cloud, stage)
        found = shown(deployed, resolve(deployed, job))
    if as_json:
        output.put_json(found)
    else:
        _put(found)
        _warn(found)


def logs(
    job: Job,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    stage: Stage = None,
    local: Local = False,
    cloud: Cloud = None,
) -> None:
    """Print a job's log. With --follow the exit code is the job's: 0 where it completed."""
    from facetrain.jobs import LogReader, resolve

    with output.refusals(as_json):
        deployed = deployment(local, cloud, stage)
        name = resolve(deployed, job)
    if follow:
        _follow(deployed, name, as_json)
        return
    for line in LogReader(deployed, name).new_lines():
        _put_line(line, as_json)


def stop(
    job: Job, *, as_json: AsJson = False, stage: Stage = None, local: Local = False, cloud: Cloud = None
) -> None:
    """Stop a running job; it saves its checkpoint and what it has of a model."""
    from facetrain import jobs

    with output.refusals(as_json):
        deployed = deployment(local, cloud, stage)
        name = jobs.resolve(deployed, job)
    jobs.stop(deployed, name)
    found = jobs.summary(jobs.describe(deployed, name))
    if as_json:
        output.put_json(found)
    else:
        output.say(f"{name}: {found['status']}")


def _follow(deployed: "Deployment", name: str, as_json: bool) -> None:
    from facetrain import jobs

    last: Mapping[str, Any] = {}
    for event in jobs.follow(deployed, name):
        if isinstance(event, jobs.LogLine):
            _put_line(event, as_json)
        else:
            last = event
            output.say(f"-- {event['TrainingJobStatus']} ({event.get('SecondaryStatus', '')})")
    if last.get("FailureReason"):
        output.say(str(last["FailureReason"]))
    if last["TrainingJobStatus"] != "Completed":
        raise typer.Exit(output.FAILED)


def _put_line(line: "LogLine", as_json: bool) -> None:
    import json

    output.put(json.dumps(dataclasses.asdict(line)) if as_json else f"{line.host}  {line.message}")


def _warn(job: Mapping[str, Any]) -> None:
    if job["forgotten"]:
        output.say(f"{job['name']}: its model {job['forgotten']}")


def _row(job: Mapping[str, Any]) -> list[str]:
    started = (job["started"] or "").replace("T", " ").removesuffix("+00:00")
    secondary = "" if job["secondary_status"] == job["status"] else job["secondary_status"]
    return [job["name"], job["status"], secondary, started, output.duration(job["seconds"]), job["dataset"]]


def _put(job: Mapping[str, Any]) -> None:
    billable = output.duration(job["billable_seconds"])
    output.put_fields(
        {
            "name": job["name"],
            "status": job["status"],
            "secondary": job["secondary_status"],
            "reason": job["failure_reason"],
            "dataset": job["dataset"],
            "machine": job["instance"] + (" (spot)" if job["spot"] else ""),
            "created": job["created"],
            "started": job["started"],
            "ended": job["ended"],
            "duration": output.duration(job["seconds"]) + (f", billed {billable}" if billable else ""),
            "model": job["model"],
            "arn": job["arn"],
        }
    )
    if job["metrics"]:
        output.put("\nmetrics")
        output.put_fields({f"  {name}": f"{value:.6g}" for name, value in job["metrics"].items()})
    if job["transitions"]:
        output.put("\nhistory")
        for step in job["transitions"]:
            output.put(f"  {step['started']}  {step['status']:<12}  {step['message']}")
