"""What was asked of a container on this machine: places here or in S3, and none of SageMaker's machines."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facetrain.by_hand import order as orders
from facetrain.by_hand.inputs import IN_INPUTS, README, RESULTS, channels_in
from facetrain.by_hand.order import Order
from facetrain.client import Connection
from facetrain.errors import InputError
from facetrain.storage import Store
from training.jobs import governance
from training.jobs.manifest import Manifest
from training.jobs.platform import Platform
from training.jobs.problems import Problem
from training.jobs.request import build_request
from training.jobs.resources import Resources
from training.jobs.uri import S3Uri

NOWHERE = S3Uri("on-this-machine")  # stands in the request for every place that is here
MACHINE = {"InstanceType": "local", "InstanceCount": 1}

Place = S3Uri | Path


_KINDS = {"images": "pictures"}


@dataclass(frozen=True)
class LocalJob:
    """A job for this machine. request: what build_request makes of it, with stand-ins for places here."""

    image: str
    channels: Mapping[str, Place]
    output: Place
    request: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.request["TrainingJobName"])

    def shown(self) -> dict[str, Any]:
        """What `--dry-run` prints."""
        places = {name: str(place) for name, place in self.channels.items()}
        keys = ("TrainingJobName", "HyperParameters", "Environment")
        own = {"Image": self.image, "Channels": places, "Output": str(self.output)}
        return {key: self.request[key] for key in keys} | own


def check(order: Order, connection: Connection, now: dt.datetime) -> LocalJob:
    """Raises InputError with everything that is wrong. S3 is asked only of an inputs folder that is there."""
    problems = orders.check_name(order.base_job_name) + orders.check_algorithm(order) + _useless(order)
    named = _in_inputs(order, connection, problems) | dict(order.channels)
    channels = {name: _place(text, f"--{name}", problems) for name, text in named.items()}
    problems += [
        Problem(f"--{name}", f"is missing: name the folder of {_KINDS.get(name, name)}, here or in S3")
        for name in orders.missing(order.algorithm, channels)
    ]
    output = _output(order, problems)
    settings = orders.checked_settings(order, problems)
    basis = orders.checked_governance(order.governance, problems)
    problems += orders.named(governance.check(basis, (), now.timestamp()))
    image = orders.checked_image(order, problems)
    if problems or output is None:
        raise InputError(problems)
    found = {name: place for name, place in channels.items() if place is not None}
    request = _request(order, image, found, output, settings, basis=basis)
    request["TrainingJobName"] = orders.job_name(order.base_job_name, now)
    return LocalJob(image, found, output, request)


def _in_inputs(order: Order, connection: Connection, problems: list[Problem]) -> dict[str, str]:
    """cfg and weights of the inputs folder, as far as they are there."""
    if order.inputs is None:
        return {}
    if "://" in order.inputs:
        inputs = orders.folder(order.inputs, "--inputs", problems)
        found = channels_in(inputs, Store(connection.client("s3"))) if inputs else {}
        return {name: str(uri) for name, uri in found.items()}
    paths = {name: Path(order.inputs, "input", "data", name).expanduser() for name in IN_INPUTS}
    return {name: str(path) for name, path in paths.items() if _has_data(path)}


def _has_data(folder: Path) -> bool:
    return any(path.is_file() and path.name != README for path in folder.rglob("*"))


def _place(text: str, option: str, problems: list[Problem]) -> Place | None:
    if "://" in text:
        return orders.address(text, option, problems)
    path = Path(text).expanduser()
    if path.exists():
        return path.resolve()
    problems.append(Problem(option, f'there is no "{text}" on this machine'))
    return None


def _output(order: Order, problems: list[Problem]) -> Place | None:
    text = order.output or (f"{order.inputs.rstrip('/')}/{RESULTS}" if order.inputs else None)
    if text is None:
        problems.append(Problem("--output", "is missing: name a folder for the results, here or in S3"))
        return None
    return orders.folder(text, "--output", problems) if "://" in text else Path(text).expanduser().resolve()


def _useless(order: Order) -> list[Problem]:
    """Options that mean machines of SageMaker's."""
    named = [Problem(f"resources.{name}", "") for name in order.resources if name != "instance_type"]
    named += [Problem("RoleArn", "")] if order.role else []
    named += [Problem("input_mode", "")] if order.input_mode else []
    message = "means nothing to a container on this machine: leave it out"
    return [Problem(problem.path, message) for problem in orders.named(named)]


def _request(
    order: Order,
    image: str,
    channels: Mapping[str, Place],
    output: Place,
    settings: Mapping[str, Any],
    *,
    basis: Mapping[str, str],
) -> dict[str, Any]:
    uris = {
        name: place if isinstance(place, S3Uri) else NOWHERE.join(f"{name}/")
        for name, place in channels.items()
    }
    results = str(output if isinstance(output, S3Uri) else NOWHERE)
    platform = dataclasses.replace(
        Platform.example(), images={order.algorithm: image}, results=results, kms_key_arn=None
    )
    dataset = Path(order.inputs or order.channels["images"]).name or order.base_job_name
    manifest = Manifest(NOWHERE, dataset, order.algorithm, uris, settings, Resources(), basis)
    return build_request(manifest, platform, order.base_job_name) | {"ResourceConfig": MACHINE}
