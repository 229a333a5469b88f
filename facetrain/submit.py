"""Starts the job of one manifest, or says exactly what would be asked of SageMaker (`--dry-run`)."""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from facetrain.client import Connection, Deployment, discover, explain, is_missing
from facetrain.errors import InputError, OperationError
from facetrain.folder import check_dataset_name, plain_name
from facetrain.storage import Store
from training.jobs import contract, manifest
from training.jobs.platform import Platform
from training.jobs.request import build_request, job_name, model_artifact
from training.jobs.uri import S3Uri

Note = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """A manifest's bytes, and the version or ETag that its job is named after."""

    data: bytes
    revision: str


@dataclass(frozen=True)
class Started:
    """The job that a manifest started."""

    job_name: str
    job_arn: str | None  # None while the job waits for capacity
    status: str
    manifest: str
    model: str
    message: str = ""


def request_of(
    address: str, dataset: str | None, connection: Connection, stage: str, note: Note
) -> dict[str, Any]:
    """What CreateTrainingJob would be given for the manifest at `address`: a file, or s3://….

    Needs no cloud for a file: where no deployment can be read, made-up values stand in, and `note` is told.
    """
    platform, made_up = _platform(connection, stage)
    notes = [made_up] if made_up else []
    if address.startswith("s3://"):
        location, source = _read_s3(connection, address)
        if made_up:
            platform = dataclasses.replace(platform, inputs_bucket=location.bucket)
    else:
        source = read_file(Path(address))
        name = dataset or plain_name(Path(address).resolve().parent.name) or "dataset"  # nothing is written
        location = S3Uri(platform.inputs_bucket, _key(dataset_name(Path(address), name)))
        notes.append("the job's name ends with a digest of the upload's version: here, of the file's content")
    parsed = manifest.parse(source.data, location, platform, time.time())
    store = None if made_up else Store(connection.client("s3"))
    if store and address.startswith("s3://"):
        _check_channels(parsed, store)
    for line in notes:  # of a request only: what is refused is answered with its errors alone
        note(line)
    name = job_name(platform, location, parsed.dataset, source.revision)
    forgotten = store is not None and store.holds(platform.deletion_list)
    return build_request(parsed, platform, name, forgotten=forgotten)


def submit(address: str, dataset: str | None, deployment: Deployment) -> Started:
    """Starts the job of the manifest at `address`; a file is put into its dataset's folder first.

    A put manifest starts its job by itself; the launcher is invoked as well to have its answer now. Both
    lead to one job, for its name is made from the manifest's version.
    """
    if address.startswith("s3://"):
        location = _address(address)
    else:
        location = _upload(Path(address), dataset, deployment)
    answer = deployment.launch(location)
    model = model_artifact(deployment.platform, manifest.dataset_of(location), answer["job_name"])
    return Started(
        answer["job_name"],
        answer["job_arn"],
        answer["status"],
        str(location),
        str(model),
        answer.get("message", ""),
    )


def dataset_name(path: Path, given: str | None) -> str:
    """The dataset that a local manifest belongs to: the name given, else its folder's."""
    name = given or path.resolve().parent.name
    check_dataset_name(name, "--name" if given else str(path.resolve().parent))
    return name


def read_file(path: Path) -> Source:
    """A local manifest; its ETag, as S3 would compute it, stands for the version it does not have yet."""
    try:
        data = path.read_bytes()
    except OSError as error:
        hint = f": did you mean {path / contract.MANIFEST_NAME}?" if path.is_dir() else ""
        raise InputError.because(str(path), f"{error.strerror}{hint}") from None
    return Source(data, hashlib.md5(data, usedforsecurity=False).hexdigest())


def _platform(connection: Connection, stage: str) -> tuple[Platform, str]:
    """The deployment's platform and nothing more to say, or a made-up one and why it is made up."""
    try:
        return discover(connection, stage).platform, ""
    except OperationError as error:
        reason = str(error)
    except (BotoCoreError, ClientError) as error:
        reason = explain(error)
    return Platform.example(), f"no deployment was read, so role, image and buckets are made up ({reason})"


def _address(text: str) -> S3Uri:
    try:
        return S3Uri.parse(text)
    except ValueError as error:
        raise InputError.because("MANIFEST", str(error)) from None


def _key(dataset: str) -> str:
    return f"{contract.INPUTS_PREFIX}{dataset}/{contract.MANIFEST_NAME}"


def _read_s3(connection: Connection, address: str) -> tuple[S3Uri, Source]:
    location = _address(address)
    try:
        answer = connection.client("s3").get_object(Bucket=location.bucket, Key=location.key)
    except ClientError as error:
        if is_missing(error):
            raise InputError.because(address, "there is no such object") from None
        raise
    revision = answer.get("VersionId", "null")
    revision = answer["ETag"].strip('"') if revision == "null" else revision
    return location, Source(answer["Body"].read(contract.MANIFEST_BYTES_LIMIT + 1), revision)


def _check_channels(parsed: manifest.Manifest, store: Store) -> None:
    if problems := manifest.check_channels(parsed, store.holds, store.names_in):
        raise manifest.ManifestError(problems)


def _upload(path: Path, dataset: str | None, deployment: Deployment) -> S3Uri:
    location = S3Uri(deployment.platform.inputs_bucket, _key(dataset_name(path, dataset)))
    data = read_file(path).data
    store = Store(deployment.s3)
    _check_channels(manifest.parse(data, location, deployment.platform, time.time()), store)
    store.put_manifest(location, data)
    return location
