"""Whether the data that a manifest names is there, and right as far as a look from outside can tell."""

from collections.abc import Callable
from dataclasses import replace

from botocore.exceptions import ClientError

from launch_training.adapters import Store, code
from training.jobs import contract
from training.jobs.algorithms import ALGORITHMS
from training.jobs.config import ConfigError, parse_train_args, resolve
from training.jobs.manifest import Manifest, check_channels
from training.jobs.problems import Problem
from training.jobs.uri import S3Uri

# A refusal by another bucket is for the manifest's author to mend; one by the deployment's own is a fault.
_REFUSALS = {"AccessDenied": "access is denied", "NoSuchBucket": "there is no such bucket"}


def problems_of(manifest: Manifest, store: Store) -> list[Problem]:
    """What is wrong with each channel: empty, missing, out of reach; and with cfg/train-args.json."""
    problems = []
    for name in manifest.channels:
        problems += _in_reach(manifest, name, lambda one: check_channels(one, store.holds, store.names))
    if not problems and "cfg" in manifest.channels:
        problems += _in_reach(manifest, "cfg", lambda one: _train_args_problems(one, store))
    return problems


def _in_reach(manifest: Manifest, name: str, look: Callable[[Manifest], list[Problem]]) -> list[Problem]:
    """What `look` finds in the manifest reduced to one channel, or that its bucket lets nobody look."""
    uri = manifest.channels[name]
    try:
        return look(replace(manifest, channels={name: uri}))
    except ClientError as error:
        if uri.bucket == manifest.location.bucket or code(error) not in _REFUSALS:
            raise
        return [Problem(f"channels.{name}", _out_of_reach(uri, error))]


def _out_of_reach(uri: S3Uri, error: ClientError) -> str:
    return (
        f"cannot look into {uri}: {_REFUSALS[code(error)]}. The launcher and the training role need "
        f"s3:ListBucket on arn:aws:s3:::{uri.bucket} and s3:GetObject on arn:aws:s3:::{uri.bucket}/*; where "
        "another account owns the bucket, in its bucket policy too"
    )


def _train_args_problems(manifest: Manifest, store: Store) -> list[Problem]:
    """What the trainer would refuse after minutes on a paid machine, refused now."""
    cfg = manifest.channels["cfg"]
    stored = store.read(cfg.join(contract.TRAIN_ARGS_NAME)) if cfg.is_folder else None
    if stored is None:
        return []
    try:
        train_args = parse_train_args(stored.body.decode("utf-8-sig"))
        resolve(ALGORITHMS[manifest.algorithm], train_args, {})
    except UnicodeDecodeError as error:
        return [Problem(f"cfg/{contract.TRAIN_ARGS_NAME}", f"is not UTF-8 text (byte {error.start})")]
    except ConfigError as error:
        return list(error.problems)
    return []
