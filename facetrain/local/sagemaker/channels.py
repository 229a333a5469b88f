"""Input channels: from S3 to /opt/ml/input/data/<channel>, with the job's role, before the program starts.

FastFile channels are downloaded like File channels: the program sees the same files.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from facetrain.local.sagemaker.aws import Client, error_text
from facetrain.local.sagemaker.errors import JobFailed
from training.jobs.contract import ContainerPaths
from training.jobs.uri import S3Uri

THREADS = 8
CHUNK = 1 << 20
FAILED = "ClientError: Data download failed:"


@dataclass(frozen=True)
class Item:
    """One object of a channel. `path` is relative to the channel's folder."""

    uri: S3Uri
    path: str
    size: int


def no_objects(uri: str, region: str, role_arn: str) -> str:
    """The service's message for a channel without an object."""
    bucket = S3Uri.parse(uri).bucket
    return (
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
        f"exists in the selected region ({region}), that objects exist under that S3 prefix, and that the "
        f'role "{role_arn}" has "s3:ListBucket" permissions on bucket "{bucket}".'
    )


def items(s3: Client, source: Mapping[str, Any]) -> list[Item]:
    """Every object of an S3DataSource, in the order of the keys (or of the manifest)."""
    uri = S3Uri.parse(source["S3Uri"])
    if source["S3DataType"] == "ManifestFile":
        return list(_manifest_items(s3, uri))
    return [Item(S3Uri(uri.bucket, key), relative(uri.key, key), size) for key, size in _listed(s3, uri)]


def first_item(s3: Client, uri: S3Uri) -> bool:
    """Whether an object exists under the prefix: one call, however many there are."""
    return any(True for _ in _listed(s3, uri, page=2))


def relative(prefix: str, key: str) -> str:
    """Where an object goes: its key without the prefix; where the prefix is its whole key, its name."""
    rest = key[len(prefix) :]
    if not prefix or prefix.endswith("/"):
        return rest
    return rest[1:] if rest.startswith("/") else prefix.rpartition("/")[2] + rest


def _listed(s3: Client, uri: S3Uri, page: int = 1000) -> Iterator[tuple[str, int]]:
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=uri.bucket, Prefix=uri.key, PaginationConfig={"PageSize": page}
    )
    for found in pages:
        # Keys that end with "/" are the console's folder markers, not data.
        yield from ((o["Key"], o["Size"]) for o in found.get("Contents", ()) if not o["Key"].endswith("/"))


def _manifest_items(s3: Client, uri: S3Uri) -> Iterator[Item]:
    """A manifest: [{"prefix": "s3://bucket/folder/"}, "relative/1", "relative/2", …]."""
    text = s3.get_object(Bucket=uri.bucket, Key=uri.key)["Body"].read()
    try:
        head, *names = json.loads(text)
        base = S3Uri.parse(head["prefix"])
    except (ValueError, TypeError, KeyError) as error:
        raise JobFailed(
            f'{FAILED}{uri} is no manifest ([{{"prefix": "s3://…"}}, "name", …]): {error}'
        ) from error
    for name in names:
        whole = S3Uri(base.bucket, base.key + str(name))
        size = s3.head_object(Bucket=whole.bucket, Key=whole.key)["ContentLength"]
        yield Item(whole, str(name), size)


def assign(
    found: Sequence[Item], folders: Sequence[Path], distribution: str
) -> list[tuple[Item, list[Path]]]:
    """Which hosts' folders get which object: all, or, with ShardedByS3Key, each in its turn."""
    if distribution == "ShardedByS3Key":
        return [(item, [folders[number % len(folders)]]) for number, item in enumerate(found)]
    return [(item, list(folders)) for item in found]


def download(
    s3: Client,
    record: Mapping[str, Any],
    bases: Sequence[Path],
    missing: Callable[[str], str],
    check: Callable[[], None],
) -> None:
    """Fill every host's channels. Raises JobFailed in the service's words; `check` may end it early."""
    default_mode = record["AlgorithmSpecification"]["TrainingInputMode"]
    for channel in record.get("InputDataConfig", ()):
        source = channel["DataSource"]["S3DataSource"]
        name = channel["ChannelName"]
        try:
            found = items(s3, source)
        except ClientError as error:
            raise JobFailed(f"{FAILED}Failed to list {source['S3Uri']} ({error_text(error)})") from error
        if not found:
            raise JobFailed(FAILED + missing(source["S3Uri"]))
        if channel.get("InputMode", default_mode) == "FastFile":
            _check_fast_file(source, found)
        _check_paths(found)
        folders = [ContainerPaths(base).channel(name) for base in bases]
        _fill(s3, found, folders, source.get("S3DataDistributionType", "FullyReplicated"), check)


def _check_fast_file(source: Mapping[str, Any], found: Iterable[Item]) -> None:
    """FastFile mounts a folder or a file; it has no notion of names that merely begin alike."""
    prefix = S3Uri.parse(source["S3Uri"]).key
    if source["S3DataType"] != "S3Prefix" or prefix.endswith("/") or not prefix:
        return
    if not all(item.uri.key == prefix or item.uri.key.startswith(prefix + "/") for item in found):
        raise JobFailed(
            f"{FAILED}Failed to download data. For FastFile mode, partial S3 prefix is not supported. S3 "
            "prefix has to end with a full file or folder. Add a trailing '/' to the S3 prefix if it ends "
            "with a folder name that is also a prefix for other folders."
        )


def _check_paths(found: Sequence[Item]) -> None:
    """Keys that no folder can hold: parts that climb or are empty, and files where others need a folder."""
    files = {item.path for item in found}
    for item in found:
        parts = item.path.split("/")
        for wrong in ("", ".", ".."):
            if wrong in parts:
                raise JobFailed(
                    f"{FAILED}Failed to download data. S3 key: {item.uri} has an illegal char sub-sequence "
                    f"'{wrong or '//'}' in it"
                )
        for depth in range(1, len(parts)):
            if (folder := "/".join(parts[:depth])) in files:
                raise JobFailed(f"{FAILED}Failed to download data. {folder} is both an object and a folder")


def _fill(
    s3: Client, found: Sequence[Item], folders: Sequence[Path], distribution: str, check: Callable[[], None]
) -> None:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    work = assign(found, folders, distribution)
    _check_space(sum(item.size * len(targets) for item, targets in work), folders[0])
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(_fetch, s3, item, targets, check) for item, targets in work]
        wait(futures, return_when=FIRST_EXCEPTION)
        pool.shutdown(cancel_futures=True)
        for future in futures:
            if not future.cancelled():
                future.result()


def _check_space(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise JobFailed(
            f"{FAILED}No space left on device: {needed / 1e9:.1f} GB to download, {free / 1e9:.1f} GB free. "
            f"Free some space in {folder}."
        )


def _fetch(s3: Client, item: Item, folders: Sequence[Path], check: Callable[[], None]) -> None:
    first, *others = (folder / item.path for folder in folders)
    try:
        first.parent.mkdir(parents=True, exist_ok=True)
        body = s3.get_object(Bucket=item.uri.bucket, Key=item.uri.key)["Body"]
        with first.open("wb") as file:
            while piece := body.read(CHUNK):
                check()
                file.write(piece)
        for other in others:
            other.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(first, other)
    except ClientError as error:
        raise JobFailed(f"{FAILED}Unable to download object {item.uri} ({error_text(error)})") from error
    except OSError as error:
        raise JobFailed(f"{FAILED}{os.strerror(error.errno or 0)} while writing {first}") from error
    check()
