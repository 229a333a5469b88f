"""What a job was given: configuration, channels and folders, checked before anything heavy is imported."""

import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from training.container import user
from training.container.errors import TrainingError
from training.jobs import contract
from training.jobs.algorithms import ALGORITHMS, Algorithm
from training.jobs.config import ConfigError, parse_train_args, resolve
from training.jobs.contract import ContainerPaths
from training.jobs.problems import Problem, did_you_mean


def read_algorithm(paths: ContainerPaths) -> Algorithm:
    """The one that the job names, or the image's own. Raises ConfigError where the image cannot train it."""
    here = [name for name in ALGORITHMS if find_spec(f"training.{name}")]
    name = str(_read_json(paths.hyperparameters).get("algorithm", here[0]))
    if name not in here:
        raise _refused("hyperparameters.algorithm", f'this image trains {" and ".join(here)}, not "{name}"')
    return ALGORITHMS[name]


def read_config(paths: ContainerPaths) -> dict[str, Any]:
    """The whole configuration. Raises ConfigError with every problem at once."""
    algorithm, given = read_algorithm(paths), _read_json(paths.hyperparameters)
    train_args = paths.channel("cfg") / contract.TRAIN_ARGS_NAME
    from_file = parse_train_args(_text(train_args)) if train_args.is_file() else {}
    return resolve(algorithm, {**_from_cfg(algorithm, paths.channel("cfg")), **from_file}, given)


def _from_cfg(algorithm: Algorithm, folder: Path) -> Mapping[str, Any]:
    """What other files of the cfg channel say of the knobs, for an algorithm that reads such."""
    name = f"training.{algorithm.name}.cfg"
    found: Mapping[str, Any] = import_module(name).knobs(folder) if find_spec(name) else {}
    return found


def read_resources(paths: ContainerPaths) -> dict[str, Any]:
    """resourceconfig.json; empty where there is none. Raises ConfigError."""
    resources = _read_json(paths.resource_config)
    hosts = resources.get("hosts", [])
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise _refused(paths.resource_config.name, 'hosts must be a list such as ["algo-1", "algo-2"]')
    return resources


def check_channels(paths: ContainerPaths) -> None:
    """Raises ConfigError for every channel that nothing would read, and for a required one that is missing.

    To pass over `label`, where `labels` was meant, would train on the wrong identities for hours.
    """
    algorithm = read_algorithm(paths)
    ours = {contract.FORGOTTEN_CHANNEL} if algorithm.identities else set()  # which no manifest names
    problems = [
        Problem(
            f"channels.{name}",
            f"{algorithm.name} has no such channel{did_you_mean(name, algorithm.channels)}",
        )
        for name in sorted(set(_named(paths)))
        if name not in ours.union(algorithm.channels)
    ]
    problems += [
        Problem(
            f"channels.{name}",
            f"{paths.channel(name)} does not exist: name an S3 prefix that holds {name}, or mount a folder",
        )
        for name in algorithm.required_channels
        if not paths.channel(name).is_dir()
    ]
    if problems:
        raise ConfigError(problems)


def _named(paths: ContainerPaths) -> Iterator[str]:
    """The channels of the job: those in the service's file, and folders that are called like one."""
    channels = _read_json(paths.input_data_config)
    for name, channel in channels.items():
        if not isinstance(channel, dict):
            raise _refused(paths.input_data_config.name, f"{name} must be an object")
        yield name
    data = paths.channel("images").parent
    for entry in data.iterdir() if data.is_dir() else ():
        named_like_one = re.fullmatch(contract.CHANNEL_NAME_PATTERN, entry.name)  # lost+found is not
        if named_like_one and not entry.name.startswith(".") and entry.is_dir():
            yield entry.name


def check_folders(paths: ContainerPaths) -> list[str]:
    """Makes the folders that training writes; notes on those that are full though training can do without.

    Raises TrainingError where one cannot be written: better now than after a day of training.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise TrainingError("no folder for temporary files can be written: add --tmpfs /tmp:exec") from None
    notes = []
    for folder in user.written(paths):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            user.try_to_write(folder)
        except OSError as error:
            if error.errno not in _FULL:
                raise TrainingError(_unwritable(folder, error)) from None
            if folder == paths.model:
                raise TrainingError(f"{folder} is full: free some space there or raise volume_gb") from None
            notes.append(f"note: {folder} is full: what belongs there will be missing")
    return notes


_FULL = (errno.ENOSPC, errno.EDQUOT)


def _unwritable(folder: Path, error: OSError) -> str:
    if error.errno == errno.EROFS:
        remedy = "mount it without read-only (:ro)"
    elif error.errno in (errno.EACCES, errno.EPERM):
        remedy = f"let user {os.geteuid()} write there, or start the container as its owner (--user)"
    else:
        remedy = "mount a folder there"
    return f"{folder} cannot be written ({error.strerror}), and training leaves its results there: {remedy}"


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file of the service; empty where there is none, as when run by hand."""
    if not path.is_file():
        return {}
    text = _text(path)
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _refused(path.name, f"is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise _refused(path.name, "must hold a JSON object")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path.name, f"is not UTF-8 text ({error.reason})") from None


def _refused(path: str, message: str) -> ConfigError:
    return ConfigError([Problem(path, message)])
