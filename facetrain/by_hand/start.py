"""From an order to a running job: the request, what S3 must hold for it, and the job's way to its end."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from facetrain import jobs
from facetrain.by_hand import account, sdk
from facetrain.by_hand.inputs import IN_INPUTS, channel, channels_in
from facetrain.by_hand.order import Checked, job_name, missing, named, refused
from facetrain.client import Connection, Deployment, explain, is_missing
from facetrain.errors import InputError, OperationError
from facetrain.storage import Store
from training.jobs import governance
from training.jobs.limits import RequestError
from training.jobs.manifest import Manifest, check_channels
from training.jobs.platform import Platform
from training.jobs.problems import Problem
from training.jobs.request import build_request, model_artifact
from training.jobs.uri import S3Uri

Note = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One job that can be started: `request` is what CreateTrainingJob is given."""

    request: Mapping[str, Any]
    manifest: Manifest
    platform: Platform

    @property
    def name(self) -> str:
        return str(self.request["TrainingJobName"])

    @property
    def hosts(self) -> int:
        return int(self.request["ResourceConfig"]["InstanceCount"])

    @property
    def model(self) -> S3Uri:
        """Where the model will lie."""
        return model_artifact(self.platform, self.manifest.dataset, self.name)


def dry_run(checked: Checked, connection: Connection, stage: str, now: dt.datetime, note: Note) -> Job:
    """The job as it would be asked for. Needs no account: what cannot be looked up is made up or assumed."""
    platform = account.made_up(checked, connection, stage, note)
    store = Store(connection.client("s3"))
    try:
        checked = with_inputs(checked, store)
    except (BotoCoreError, ClientError) as error:
        note(f"{checked.inputs} could not be looked into, so cfg and weights are assumed ({explain(error)})")
        assert checked.inputs is not None  # nothing else was asked for
        checked = _with(checked, {name: channel(checked.inputs, name) for name in IN_INPUTS})
    return job_of(checked, platform, now, forgotten=_has_deletion_list(platform, store))


def prepare(checked: Checked, connection: Connection, stage: str, now: dt.datetime) -> Job:
    """The job, after everything was looked at that it needs. Raises InputError with every problem."""
    platform = account.platform_of(checked, connection, stage)
    _check_buckets(checked, platform, connection)
    store = Store(connection.client("s3"))
    forgotten = _has_deletion_list(platform, store)
    job = job_of(with_inputs(checked, store), platform, now, forgotten=forgotten)
    if problems := check_channels(job.manifest, store.holds, store.names_in, "upload the data first"):
        raise InputError(named(problems))
    return job


def _has_deletion_list(platform: Platform, store: Store) -> bool:
    """Whether somebody is forgotten in the deployment; where none takes part, nobody is known to be."""
    return platform.results is None and store.holds(platform.deletion_list)


def job_of(checked: Checked, platform: Platform, now: dt.datetime, *, forgotten: bool = False) -> Job:
    """The request, made by the function that makes all of them.

    Raises InputError where a limit is broken, or the basis of the data has ended or lacks what is required.
    """
    seconds = now.timestamp()
    if problems := governance.check(checked.governance, platform.governance_required, seconds):
        raise InputError(named(problems))
    resources = checked.resources(platform.defaults)
    manifest = Manifest(
        checked.location,
        checked.dataset,
        checked.algorithm,
        checked.channels,
        checked.hyperparameters,
        governance.within_basis(resources, checked.governance, seconds),
        checked.governance,
        checked.input_mode,
    )
    try:
        name = job_name(platform.job_prefix, now)
        return Job(build_request(manifest, platform, name, forgotten=forgotten), manifest, platform)
    except RequestError as error:
        raise refused(error) from None


def with_inputs(checked: Checked, store: Store) -> Checked:
    """The order with the channels that its inputs folder holds; those that were named stay as they are.

    Raises InputError where the algorithm needs another, too.
    """
    if not checked.inputs:
        return checked
    found = _with(checked, channels_in(checked.inputs, store))
    if lacking := missing(checked.algorithm, found.channels):
        nothing = f"{channel(checked.inputs, lacking[0])} holds nothing, and {checked.algorithm} needs it"
        raise InputError.because("--inputs", f"{nothing}: `facetrain inputs push` uploads it")
    return found


def _with(checked: Checked, found: Mapping[str, S3Uri]) -> Checked:
    return replace(checked, channels={**found, **checked.channels})


def start(job: Job, connection: Connection) -> str:
    """Creates the job with the SageMaker SDK and gives its ARN."""
    return sdk.create(job.request, connection)


def follow(job: Job, connection: Connection) -> Iterator[jobs.LogLine | dict[str, Any]]:
    """The job's log lines and states as they come, to the last one. Raises OperationError where it cannot."""
    try:
        yield from jobs.follow(Deployment(connection, job.platform), job.name)
    except (BotoCoreError, ClientError) as error:
        raise OperationError(f"{explain(error)}; the job goes on: {how_to_stop(job.name)}") from None


def how_to_stop(name: str) -> str:
    return f"`aws sagemaker stop-training-job --training-job-name {name}` stops it"


def _check_buckets(checked: Checked, platform: Platform, connection: Connection) -> None:
    """Raises InputError for each bucket that is not there, not ours, or in another region than the job."""
    places = {f"--{name}": uri.bucket for name, uri in checked.channels.items()}
    if checked.inputs:
        places["--inputs"] = checked.inputs.bucket
    if checked.output:
        places["--output"] = checked.output.bucket
    answers = {bucket: _trouble(bucket, platform.region, connection) for bucket in set(places.values())}
    if problems := [Problem(option, answers[bucket]) for option, bucket in places.items() if answers[bucket]]:
        raise InputError(problems)


def _trouble(bucket: str, region: str, connection: Connection) -> str:
    """Why a job in this region cannot use the bucket; empty where it can."""
    try:
        found = connection.client("s3").head_bucket(Bucket=bucket).get("BucketRegion")
    except ClientError as error:
        if is_missing(error):
            return f'there is no bucket "{bucket}"'
        return f'these credentials may not look into the bucket "{bucket}" ({explain(error)})'
    if found and found != region:
        return (
            f'the bucket "{bucket}" is in {found}, but the job would run in {region}: set AWS_REGION={found}'
        )
    return ""
