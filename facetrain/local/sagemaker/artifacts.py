"""Outputs: /opt/ml/model and /opt/ml/output/data to <S3OutputPath>/<job>/output/, when the program has ended.

An archive is made on disk and then uploaded: S3 shows an object whole or not at all, so a killed upload
leaves nothing half-written. With several hosts their folders become one archive; where two wrote the same
name, the first host's file is taken.
"""

import os
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError

from facetrain.local.sagemaker.aws import Client
from facetrain.local.sagemaker.errors import JobFailed
from training.jobs.contract import ContainerPaths
from training.jobs.uri import S3Uri

FAILED = "ClientError: Artifact upload failed:"
COMPRESSION = 1  # weights hardly shrink, however long one tries


def output_folder(record: Mapping[str, Any]) -> S3Uri:
    """s3://…/<job>/output/"""
    base = S3Uri.parse(record["OutputDataConfig"]["S3OutputPath"])
    key = f"{base.key.rstrip('/')}/" if base.key.strip("/") else ""
    return S3Uri(base.bucket, f"{key}{record['TrainingJobName']}/output/")


def model_address(record: Mapping[str, Any]) -> str:
    """ModelArtifacts.S3ModelArtifacts: the archive, or for CompressionType NONE the folder."""
    name = "model/" if _uncompressed(record) else "model.tar.gz"
    return str(output_folder(record).join(name)) if name != "model/" else f"{output_folder(record)}model/"


def encryption(record: Mapping[str, Any]) -> dict[str, str]:
    """Upload arguments for the request's key; without one the bucket's own default applies."""
    key = record["OutputDataConfig"].get("KmsKeyId")
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}


def upload_model(s3: Client, record: Mapping[str, Any], bases: Sequence[Path]) -> None:
    """Raises JobFailed in the service's words."""
    found = merged([ContainerPaths(base).model for base in bases])
    if not _uncompressed(record):
        _upload_archive(s3, record, found, bases[0], "model.tar.gz")
        return
    for name, path in found.items():
        _upload(s3, path, S3Uri.parse(model_address(record)).join(name), record)


def upload_output(s3: Client, record: Mapping[str, Any], bases: Sequence[Path]) -> None:
    """output.tar.gz: what the program left in output/data, after a failure too."""
    found = merged([ContainerPaths(base).output_data for base in bases])
    _upload_archive(s3, record, found, bases[0], "output.tar.gz")


def merged(folders: Iterable[Path]) -> dict[str, Path]:
    """Every file below the folders by its relative path; an earlier folder's file hides a later one's."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                found.setdefault(path.relative_to(folder).as_posix(), path)
    return found


def _uncompressed(record: Mapping[str, Any]) -> bool:
    return bool(record["OutputDataConfig"].get("CompressionType") == "NONE")


def _upload_archive(
    s3: Client, record: Mapping[str, Any], found: Mapping[str, Path], base: Path, name: str
) -> None:
    if not found:
        return  # the service writes no archive of nothing
    archive = base.parent / name
    try:
        with tarfile.open(archive, "w:gz", compresslevel=COMPRESSION) as tar:
            for relative, path in found.items():
                tar.add(path, relative, recursive=False, filter=_anonymous)
    except OSError as error:
        free = shutil.disk_usage(base).free
        reason = f"{os.strerror(error.errno or 0)} while packing {archive} ({free / 1e9:.1f} GB free)"
        raise JobFailed(FAILED + reason) from error
    _upload(s3, archive, output_folder(record).join(name), record)
    archive.unlink()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Who ran the endpoint is nobody's business."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _upload(s3: Client, path: Path, uri: S3Uri, record: Mapping[str, Any]) -> None:
    try:
        s3.upload_file(str(path), uri.bucket, uri.key, ExtraArgs=encryption(record))
    except S3UploadFailedError as error:
        cause = error.__cause__ or error.__context__
        raise JobFailed(
            FAILED + (_worded(cause) if isinstance(cause, ClientError) else str(error))
        ) from error
    except ClientError as error:
        raise JobFailed(FAILED + _worded(error)) from error


def _worded(error: ClientError) -> str:
    """As the service writes it: `Error 7: AccessDenied (403): Access Denied`."""
    details, http = error.response["Error"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    number = "Error 7: " if http == 403 else ""
    return f"{number}{details['Code']} ({http}): {details['Message']}"
