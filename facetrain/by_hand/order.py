"""What was asked for, checked by the manifest's own tables, with each problem named by its option."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from facetrain.by_hand.image import image_of
from facetrain.by_hand.inputs import IN_INPUTS, RESULTS
from facetrain.errors import InputError
from facetrain.folder import hyperparameters
from facetrain.governance import block
from training.jobs import contract
from training.jobs.algorithms import ALGORITHMS
from training.jobs.contract import FILE_MODE
from training.jobs.manifest import as_folder, check_input_mode, check_machines
from training.jobs.problems import Problem, ProblemsError, did_you_mean
from training.jobs.resources import Resources, resources_of
from training.jobs.uri import S3Uri

ALGORITHM = next(iter(ALGORITHMS))  # where none is named
BASE_JOB_NAME = "face-training"
_JOB_NAME = re.compile(contract.JOB_NAME_PATTERN)
_OPTIONS = {
    "TrainingJobName": "--base-job-name",
    "AlgorithmSpecification.TrainingImage": "--image",
    "OutputDataConfig.S3OutputPath": "--output",
    "CheckpointConfig.S3Uri": "--output",
    "resources.max_runtime_hours": "--max-hours",
    "RoleArn": "--role",
    "input_mode": "--input-mode",
}
_GROUPS = {
    "resources.": "--",
    "channels.": "--",
    "governance.": "--governance ",
    "InputDataConfig.": "--",
    "hyperparameters.": "--set ",
    "HyperParameters.": "--set ",
}


@dataclass(frozen=True)
class Order:
    """What was typed: addresses as texts, and only what was named."""

    channels: Mapping[str, str] = field(default_factory=dict)
    inputs: str | None = None  # a folder that holds input/data/{cfg,weights}/ and will hold results/
    output: str | None = None
    image: str | None = None
    role: str | None = None
    settings: tuple[str, ...] = ()  # hyperparameters, as key=value
    resources: Mapping[str, Any] = field(default_factory=dict)  # by the manifest's names
    base_job_name: str = BASE_JOB_NAME
    governance: tuple[str, ...] = ()  # as key=value
    input_mode: str | None = None
    algorithm: str = ALGORITHM


@dataclass(frozen=True)
class Checked:
    """An order that is right in itself; whether S3 holds what it names is another matter."""

    order: Order
    image: str
    channels: Mapping[str, S3Uri]
    inputs: S3Uri | None
    output: S3Uri | None
    hyperparameters: Mapping[str, Any]
    governance: Mapping[str, str]

    @property
    def location(self) -> S3Uri:
        """The folder that the job is of: the inputs, or what holds the images."""
        return self.inputs or S3Uri(self.images.bucket, self.images.key.rstrip("/")).folder

    @property
    def images(self) -> S3Uri:
        return self.channels["images"]

    @property
    def dataset(self) -> str:
        """What the job's tags and the model card call its data."""
        return self.location.name or self.order.base_job_name

    @property
    def results(self) -> S3Uri | None:
        """Where what comes out goes: --output, else the inputs folder's results/."""
        return self.output or (self.inputs.join(RESULTS) if self.inputs else None)

    @property
    def input_mode(self) -> str:
        return self.order.input_mode or FILE_MODE

    @property
    def algorithm(self) -> str:
        return self.order.algorithm

    def resources(self, defaults: Resources) -> Resources:
        return resources_of(self.order.resources, defaults)[0]


def check(order: Order) -> Checked:
    """Raises InputError with everything that is wrong, each problem with its option."""
    problems = check_name(order.base_job_name) + check_algorithm(order)
    channels = {name: address(text, f"--{name}", problems) for name, text in order.channels.items()}
    later = IN_INPUTS if order.inputs else ()  # what S3 holds of them is another matter
    problems += [
        Problem(f"--{name}", f"is missing: name the S3 folder, such as {_like(name)}")
        for name in missing(order.algorithm, (*channels, *later))
    ]
    inputs = folder(order.inputs, "--inputs", problems)
    output = folder(order.output, "--output", problems)
    settings = checked_settings(order, problems)
    governance = checked_governance(order.governance, problems)
    image = checked_image(order, problems)
    machines, unfit = resources_of(order.resources, Resources())
    problems += named(unfit)
    if order.algorithm in ALGORITHMS:
        problems += named(check_machines(ALGORITHMS[order.algorithm], machines))
    problems += named(check_input_mode(order.input_mode or FILE_MODE))
    if problems:
        raise InputError(problems)
    found = {name: uri for name, uri in channels.items() if uri is not None}
    return Checked(order, image, found, inputs, output, settings, governance)


def job_name(base: str, now: dt.datetime) -> str:
    """`face-training-20260630-093000`: every run of the command starts a job of its own."""
    return f"{base}-{now:%Y%m%d-%H%M%S}"


def default_name(algorithm: str) -> str:
    """What the names of its jobs begin with, where nothing else is said."""
    return BASE_JOB_NAME if algorithm == ALGORITHM else f"{algorithm}-training"


def push_command(algorithm: str) -> str:
    """What makes and pushes an algorithm's image; the default one's where there is none of that name."""
    if algorithm == ALGORITHM or algorithm not in ALGORITHMS:
        return f"./build-and-push.sh {BASE_JOB_NAME}"
    return f"./build-and-push.sh {default_name(algorithm)} --target {algorithm}"


def check_algorithm(order: Order) -> list[Problem]:
    """Whether there is such an algorithm, and it has the channels that are named."""
    if order.algorithm not in ALGORITHMS:
        hint = did_you_mean(order.algorithm, ALGORITHMS)
        return [Problem("--algorithm", f'"{order.algorithm}" is not known{hint}')]
    own = ALGORITHMS[order.algorithm].channels
    return [
        Problem(f"--{name}", f"{order.algorithm} has no such channel{did_you_mean(name, own)}")
        for name in order.channels
        if name not in own
    ]


def missing(algorithm: str, channels: Iterable[str]) -> list[str]:
    """The channels that the algorithm cannot train without."""
    needed = ALGORITHMS[algorithm].required_channels if algorithm in ALGORITHMS else ()
    return [name for name in needed if name not in set(channels)]


def check_name(base: str) -> list[Problem]:
    """Whether jobs can be called so."""
    if _JOB_NAME.fullmatch(base):
        return []
    return [
        Problem("--base-job-name", f'"{base}" cannot begin a job\'s name: use letters, digits and single "-"')
    ]


def checked_image(order: Order, problems: list[Problem]) -> str:
    """The image's address; what is wrong with it is added to `problems`."""
    try:
        return image_of(order.image, push_command(order.algorithm))
    except InputError as error:
        problems += error.problems
        return ""


def checked_settings(order: Order, problems: list[Problem]) -> dict[str, Any]:
    """The hyperparameters of `--set`; what is wrong with them is added to `problems`."""
    try:
        return hyperparameters(order.algorithm, order.settings)
    except InputError as error:
        problems += error.problems
        return {}


def checked_governance(texts: tuple[str, ...], problems: list[Problem]) -> dict[str, str]:
    """The block that `--governance` makes; what is wrong with its form is added to `problems`."""
    try:
        return block(texts)
    except InputError as error:
        problems += error.problems
        return {}


def named(problems: list[Problem]) -> list[Problem]:
    """The same problems by the options that they are about."""
    return [Problem(_option(problem.path), problem.message) for problem in problems]


def refused(error: ProblemsError) -> InputError:
    """A refusal by the request's own checks, by the options that it is about."""
    return InputError(named(list(error.problems)))


def _option(path: str) -> str:
    if path in _OPTIONS:
        return _OPTIONS[path]
    for group, option in _GROUPS.items():
        if path.startswith(group):
            return option + path.removeprefix(group).replace("_", "-" if option == "--" else "_")
    return path


def address(text: str, option: str, problems: list[Problem]) -> S3Uri | None:
    """The address, as a folder where it looks like one; None, and a problem more, where it is none."""
    try:
        return S3Uri.parse(as_folder(text))
    except ValueError as error:
        problems.append(Problem(option, str(error)))
        return None


def folder(text: str | None, option: str, problems: list[Problem]) -> S3Uri | None:
    """The same of a folder, with its slash or without; None where none is named."""
    return address(text.rstrip("/") + "/", option, problems) if text is not None else None


def _like(channel: str) -> str:
    return f"--{channel} s3://bucket/{channel}/"
