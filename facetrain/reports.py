"""A job's report: out of the archive of what the job left, onto this machine."""

import gzip
import os
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from facetrain import jobs
from facetrain.client import TERMINAL, Deployment, is_missing
from facetrain.errors import InputError, OperationError
from training.jobs import contract
from training.jobs.uri import S3Uri

LARGEST_REPORT = 64 * 2**20  # bytes; a real one has less than two million
_FOR_THE_OWNER = 0o600  # there may be faces in it


def newest(deployment: Deployment) -> str:
    """The name of the job that was started last."""
    found = jobs.recent(deployment, limit=1)
    if not found:
        raise InputError.because("JOB", "there are no jobs yet: `facetrain dataset push DIR NAME` starts one")
    name: str = found[0]["name"]
    return name


def fetch(deployment: Deployment, name: str, folder: Path) -> Path:
    """Writes the job's report to <folder>/<name>.html. Raises OperationError where there is none to fetch."""
    job = jobs.describe(deployment, name)
    if job["TrainingJobStatus"] not in TERMINAL:
        raise OperationError(
            f"{name} is still running ({job['TrainingJobStatus']}): its report is written at its end; "
            f"`facetrain logs --follow {name}` shows how far it is"
        )
    archive = _archive(job)
    try:
        body = deployment.s3.get_object(Bucket=archive.bucket, Key=archive.key)["Body"]
    except ClientError as error:
        if is_missing(error):
            raise OperationError(f"{_ended(job)}: there is no {archive}") from None
        raise
    path = folder / f"{name}.html"
    try:
        page = read_report(body)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise OperationError(f"{archive} cannot be read ({error}): fetch it again") from None
    if page is None:
        raise OperationError(f"{_ended(job)}: {archive} holds none")
    folder.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FOR_THE_OWNER), "wb") as file:  # noqa: PTH123
        file.write(page)
    return path


def read_report(archive: BinaryIO) -> bytes | None:
    """report.html out of the archive's bytes, which are read as they come; None where it is not in there.

    Nothing is unpacked: no name in the archive can lead anywhere.
    """
    with tarfile.open(fileobj=archive, mode="r|gz") as members:
        for member in members:
            if member.name.removeprefix("./") != contract.REPORT_NAME or not member.isfile():
                continue
            if member.size > LARGEST_REPORT:
                raise OperationError(
                    f"the report has {member.size:,} bytes: that is no report of Facetrain's"
                )
            content = members.extractfile(member)
            return content.read() if content else None
    return None


def _archive(job: Mapping[str, Any]) -> S3Uri:
    """Where SageMaker puts what the job left in output/data."""
    base = S3Uri.parse(job["OutputDataConfig"]["S3OutputPath"].rstrip("/") + "/")
    return base.join(f"{job['TrainingJobName']}/output/{contract.OUTPUT_ARCHIVE_NAME}")


def _ended(job: Mapping[str, Any]) -> str:
    """Why there may be no report."""
    name, status = job["TrainingJobName"], job["TrainingJobStatus"]
    if status == "Completed":
        return f"{name} wrote no report"
    reason = f": {job['FailureReason']}" if job.get("FailureReason") else ""
    return f"{name} has no report, for it is {status}{reason}"
