"""`python training_job.py …`: the options, and what is said while a job runs."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

import datetime as dt
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facetrain.by_hand.order import ALGORITHM, Order, default_name
from facetrain.cli import output
from facetrain.cli.options import DEFAULT_STAGE, AsJson, Cloud, Local, Stage
from training.jobs.algorithms import ALGORITHMS

if TYPE_CHECKING:
    from facetrain.by_hand.start import Job
    from facetrain.client import Connection

NAME = "training_job.py"
HERE = "local"  # the --instance-type that means this machine
COMPLETED, INTERRUPTED = "Completed", 130

app = typer.Typer(
    name=NAME,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _option(metavar: str, text: str) -> Any:
    return typer.Option(metavar=metavar, help=text, show_default=False)


@app.command()
def training_job(
    *,
    algorithm: Annotated[
        str, typer.Option(metavar="NAME", help=f"What is trained: {' or '.join(ALGORITHMS)}.")
    ] = ALGORITHM,
    images: Annotated[
        str | None, _option("S3", "The pictures: a folder a person, or as --labels says. Needed.")
    ] = None,
    labels: Annotated[
        str | None, _option("S3", "A table of who is on which picture; the folder of YOLO's label files.")
    ] = None,
    landmarks: Annotated[str | None, _option("S3", "A table of where the eyes, nose and mouth are.")] = None,
    cfg: Annotated[
        str | None, _option("S3", "The folder of train-args.json; else INPUTS/input/data/cfg/.")
    ] = None,
    weights: Annotated[
        str | None, _option("S3", "Weights to start from; else INPUTS/input/data/weights/.")
    ] = None,
    validation: Annotated[
        str | None, _option("S3", "What to verify on; else some of the people are kept out for it.")
    ] = None,
    inputs: Annotated[
        str | None,
        _option("S3", "INPUTS: a folder with input/data/{cfg,weights}/, as far as they are needed."),
    ] = None,
    results: Annotated[
        str | None,
        typer.Option("--output", metavar="S3", help="Where to put the results; else INPUTS/results/."),
    ] = None,
    image: Annotated[
        str | None,
        _option("ADDRESS", "The image; else what build-and-push.sh wrote to ecr_image_fullname.txt."),
    ] = None,
    role: Annotated[
        str | None,
        _option("ROLE", "The job's role, its ARN or name; else the deployment's, or the notebook's."),
    ] = None,
    input_mode: Annotated[
        str | None,
        _option("MODE", "File: copy the data to the disk first. FastFile: read it from S3. Else File."),
    ] = None,
    instance_type: Annotated[
        str | None,
        _option("TYPE", f'A machine such as ml.g6.xlarge, or "{HERE}": a container on this machine.'),
    ] = None,
    instance_count: Annotated[int | None, _option("N", "How many train one model together; else 1.")] = None,
    volume_gb: Annotated[int | None, _option("GB", "The disk of each; else 100.")] = None,
    spot: Annotated[
        bool | None,
        typer.Option(
            "--spot/--no-spot", help="Spare machines, which cost less; else --spot.", show_default=False
        ),
    ] = None,
    max_hours: Annotated[
        float | None, _option("HOURS", "The longest that training may take; else 24.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A hyperparameter; may be given many times."),
    ] = None,
    governance: Annotated[
        list[str] | None,
        _option("KEY=VALUE", "Of the data's basis, such as legal_basis=consent; may be given many times."),
    ] = None,
    base_job_name: Annotated[
        str | None, _option("NAME", f"What the job's name begins with; else {default_name(ALGORITHM)}.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the job to its end.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the request and send nothing.")] = False,
    as_json: AsJson = False,
    stage: Stage = None,
    local: Local = False,
    cloud: Cloud = None,
) -> None:
    """Start one SageMaker training job and follow it. Exits with 0 where the job completed."""
    channels = {
        "images": images,
        "labels": labels,
        "landmarks": landmarks,
        "cfg": cfg,
        "weights": weights,
        "validation": validation,
    }
    resources = {
        "instance_type": instance_type,
        "instance_count": instance_count,
        "volume_gb": volume_gb,
        "spot": spot,
        "max_runtime_hours": max_hours,
    }
    order = Order(
        _named(channels),
        inputs,
        results,
        image,
        role,
        tuple(settings or ()),
        _named(resources),
        default_name(algorithm) if base_job_name is None else base_job_name,
        tuple(governance or ()),
        input_mode,
        algorithm,
    )
    with output.refusals(as_json):
        aws, stage = _connection(local, cloud, stage, dry_run)
        if instance_type == HERE:
            raise typer.Exit(_on_this_machine(order, aws, dry_run, wait, as_json))
        if dry_run:
            output.put_json(_request(order, aws, stage))
            return
        job = _started(order, aws, stage)
    if wait:
        raise typer.Exit(_follow(job, aws, as_json))
    _put({"job": job.name, "status": "InProgress", "model": str(job.model)}, as_json)


def _named(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _connection(local: bool, cloud: str | None, stage: str | None, dry_run: bool) -> "tuple[Connection, str]":
    """Where AWS is. The SDK finds it by this process's environment alone, and so do we."""
    from facetrain.client import Connection

    if local or cloud:
        from facetrain.local.cloud import DEFAULT_NAME, OVERRIDING, find

        environment = find(cloud or DEFAULT_NAME).environment()
        own = [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL_")]  # of single services
        for name in (*OVERRIDING, *own):
            os.environ.pop(name, None)
        os.environ.update(environment)
        stage = environment["FACETRAIN_STAGE"]
    return Connection(patient=not dry_run), stage or DEFAULT_STAGE


def _request(order: Order, aws: "Connection", stage: str) -> Mapping[str, Any]:
    from facetrain.by_hand.order import check
    from facetrain.by_hand.start import dry_run

    return dry_run(check(order), aws, stage, _now(), output.say).request


def _started(order: Order, aws: "Connection", stage: str) -> "Job":
    from facetrain.by_hand import sdk, start
    from facetrain.by_hand.order import check

    checked = check(order)
    sdk.require()
    job = start.prepare(checked, aws, stage, _now())
    start.start(job, aws)
    output.say(f"Started {job.name}")
    return job


def _follow(job: "Job", aws: "Connection", as_json: bool) -> int:
    from facetrain.by_hand.start import follow, how_to_stop
    from facetrain.jobs import LogLine

    last: Mapping[str, Any] = {}
    try:
        for event in follow(job, aws):
            if isinstance(event, LogLine):
                output.say(f"  {event.message}" if job.hosts == 1 else f"  {event.host}  {event.message}")
            else:
                last = event
                output.say(f"The job: {event.get('SecondaryStatus') or event['TrainingJobStatus']}")
    except KeyboardInterrupt:
        output.say(f"\nNo longer following {job.name}, which goes on: {how_to_stop(job.name)}")
        return INTERRUPTED
    completed = last["TrainingJobStatus"] == COMPLETED
    model = last["ModelArtifacts"]["S3ModelArtifacts"] if completed else None
    metrics = {metric["MetricName"]: metric["Value"] for metric in last.get("FinalMetricDataList", ())}
    result = {
        "job": job.name,
        "status": last["TrainingJobStatus"],
        "model": model,
        "reason": last.get("FailureReason"),
    }
    _put(result | ({"metrics": metrics} if as_json else {}), as_json)
    return 0 if completed else output.FAILED


def _on_this_machine(order: Order, aws: "Connection", dry_run: bool, wait: bool, as_json: bool) -> int:
    """Runs the job in a container, to its end."""
    from facetrain.by_hand import here, local_order
    from facetrain.errors import InputError

    if not wait:
        raise InputError.because("--no-wait", "the job ends with this command: leave it out")
    job = local_order.check(order, aws, _now())
    if dry_run:
        output.put_json(job.shown())
        return 0
    outcome = here.run(job, aws, output.say)
    status = "Failed" if outcome.failure else "Stopped" if outcome.stopped else COMPLETED
    completed = status == COMPLETED
    result = {"job": job.name, "status": status, "model": here.model(job) if completed else None}
    _put(result | {"reason": outcome.failure}, as_json)
    return 0 if completed else output.FAILED


def _put(result: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        output.put_json(result)
    else:
        output.put_fields(result)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def main() -> None:
    """Runs the command and exits: 0 completed, 1 failed, 2 refused, 130 interrupted."""
    from facetrain.cli.entry import conduct

    sys.exit(conduct(app, None, NAME))
