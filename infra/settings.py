"""A deployment's settings: typed, checked all at once, and refused before any construct exists.

They stand in cdk.json under `context.facetrain.<stage>`; `-c stage=` chooses the stage and `-c <setting>=`
overrides one (`-c image_uri=…`, `-c resources.spot=false`).
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from training.jobs import contract, governance
from training.jobs.algorithms import ALGORITHMS
from training.jobs.problems import Problem, ProblemsError, did_you_mean
from training.jobs.resources import Resources, resources_of

DEFAULT_STAGE = "dev"
LOCAL_STAGE = "local"
STAGE_PATTERN = r"[a-z][a-z0-9-]{0,15}"  # part of job names, of which the service takes 63 characters
# What CloudWatch Logs takes (PutRetentionPolicy).
RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
IMAGE_DEVICES = ("gpu", "cpu")  # what training/Dockerfile takes as DEVICE

Parser = Callable[[Any], Any]


class SettingsError(ProblemsError):
    """The settings cannot be deployed; `problems` says everything that is wrong with them."""


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _whole_number(low: int, high: int) -> Parser:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{value!r} is not a whole number")
        if not low <= value <= high:
            raise ValueError(f"{value!r} is out of range: at least {low}, at most {high}")
        return value

    return parse


def _amount(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ValueError(f"{value!r} is not an amount above 0")
    return value


def _text(pattern: str, what: str) -> Parser:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r} is not {what}")
        return value

    return parse


def _list(item: Parser) -> Parser:
    """A JSON list, or names with commas between them, as is handy after `-c`."""

    def parse(value: Any) -> tuple[Any, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list):
            raise ValueError(f"{value!r} is not a list")
        return tuple(item(part) for part in parts)

    return parse


def _retention(value: Any) -> int:
    days: int = _whole_number(1, RETENTION_DAYS[-1])(value)
    if days not in RETENTION_DAYS:
        closest = min(RETENTION_DAYS, key=lambda known: abs(known - days))
        raise ValueError(f"CloudWatch Logs does not keep for {days} days: the closest is {closest}")
    return days


def _image_uris(value: Any) -> dict[str, str]:
    """By algorithm. A text names the image of the first."""
    named = value if isinstance(value, dict) else {next(iter(ALGORITHMS)): value}
    for algorithm in named:
        if algorithm not in ALGORITHMS:
            raise ValueError(f"{algorithm!r} is no algorithm{did_you_mean(str(algorithm), ALGORITHMS)}")
    return {algorithm: _image_uri(uri) for algorithm, uri in named.items()}


def _image_uri(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    _, _, tag = text.rpartition("/")[2].partition("@" if "@" in text else ":")
    if not tag or tag == "latest" or len(text) > contract.IMAGE_URI_LIMIT:
        raise ValueError(f"{value!r} may change its meaning: end it in @sha256:<digest> or :<a fixed tag>")
    return text


def _device(value: Any) -> str:
    if value not in IMAGE_DEVICES:
        raise ValueError(f"{value!r} is none of {', '.join(IMAGE_DEVICES)}")
    return str(value)


def _tags(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError(f"{value!r} is not an object of strings")
    return value


def _governance_key(value: Any) -> str:
    if value not in governance.EXAMPLES:
        near = did_you_mean(str(value), governance.EXAMPLES)
        raise ValueError(f"{value!r} is no key of a manifest's governance{near}")
    return str(value)


def _setting(default: Any, parse: Parser) -> Any:
    """A field with its default and the check that a value from cdk.json or `-c` passes through."""
    return field(default=default, metadata={"parse": parse})


@dataclass(frozen=True)
class Settings:
    """One deployment. The defaults are production's."""

    stage: str
    # Data, keys, logs and images go when the stacks go. False: they stay, and cost, until removed by hand.
    removable: bool = _setting(False, _boolean)
    # Images that exist already, by algorithm; others are not offered. Empty: build training/Dockerfile's.
    image_uri: Mapping[str, str] = field(default_factory=dict, metadata={"parse": _image_uris})
    # What it is built for ("cpu": without CUDA, a quarter of the size), and from (None: the Dockerfile says).
    image_device: str = _setting(IMAGE_DEVICES[0], _device)
    image_base: str | None = _setting(
        None, _text(r"[a-z0-9][\w./:-]*[:@][\w:.-]+", "an image with its tag or digest")
    )
    # The machines of a job whose manifest names none.
    resources: Resources = field(default_factory=Resources)
    # The containers of a job reach one another and nothing else; channels and checkpoints need no network.
    network_isolation: bool = _setting(True, _boolean)
    subnets: tuple[str, ...] = _setting((), _list(_text("subnet-[0-9a-f]+", "the id of a subnet")))
    security_groups: tuple[str, ...] = _setting(
        (), _list(_text("sg-[0-9a-f]+", "the id of a security group"))
    )
    # Besides the inputs bucket, where a manifest's channels may lie.
    allowed_buckets: tuple[str, ...] = _setting(
        (), _list(_text("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of a bucket"))
    )
    # Keys of a manifest's governance without which no job starts.
    governance_required: tuple[str, ...] = _setting((), _list(_governance_key))
    # Who hears of finished, failed and refused jobs, of alarms and of the budget.
    email: str | None = _setting(None, _text(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address"))
    monthly_budget_usd: float | None = _setting(None, _amount)
    log_retention_days: int = _setting(90, _retention)
    # SageMaker keeps the logs of every training job of the account in one group, for ever. None: let it.
    training_log_retention_days: int | None = _setting(None, _retention)
    access_log_days: int = _setting(90, _whole_number(1, 3650))
    noncurrent_days: int = _setting(30, _whole_number(1, 3650))
    checkpoint_days: int = _setting(30, _whole_number(1, 3650))
    # How old datasets, and models with their reports and records, may become. None: as old as they are left.
    inputs_days: int | None = _setting(None, _whole_number(1, 3650))
    outputs_days: int | None = _setting(None, _whole_number(1, 3650))
    tiering_days: int = _setting(
        30, _whole_number(0, 3650)
    )  # until models and reports move to Intelligent-Tiering
    reconcile_minutes: int = _setting(60, _whole_number(5, 24 * 60))
    tags: Mapping[str, str] = field(default_factory=dict, metadata={"parse": _tags})

    @property
    def local(self) -> bool:
        """Whether this is the cloud on one machine: no CDK bootstrap, no registry, no budgets."""
        return self.stage == LOCAL_STAGE

    @property
    def job_prefix(self) -> str:
        return contract.job_prefix(self.stage)


_PARSERS: Mapping[str, Parser] = {
    entry.name: entry.metadata["parse"] for entry in dataclasses.fields(Settings) if entry.metadata
}
_NAMES = (*_PARSERS, *(f"resources.{entry.name}" for entry in dataclasses.fields(Resources)))


def read(context: Mapping[str, Any]) -> Settings:
    """The settings of the stage that `context` (cdk.json's and the command line's) chooses.

    Raises SettingsError with every problem: unknown names, wrong kinds, values out of range, contradictions.
    """
    stage = str(context.get("stage", DEFAULT_STAGE))
    written = _stage(context, stage) | _overrides(context)
    own, resources = _split(written)
    values, problems = _parse_all(own)
    values["resources"], found = resources_of(resources, Resources())
    problems += found
    if not problems:
        problems = list(_contradictions(Settings(stage, **values)))
    if problems:
        raise SettingsError([Problem(f"facetrain.{stage}.{it.path}", it.message) for it in problems])
    return Settings(stage, **values)


def _stage(context: Mapping[str, Any], stage: str) -> dict[str, Any]:
    stages = context.get("facetrain")
    if not isinstance(stages, dict):
        message = 'not in the context: write "context": {"facetrain": {"dev": {}}} in cdk.json'
        raise SettingsError([Problem("facetrain", message)])
    if stage not in stages:
        message = f'cdk.json has no stage "{stage}"{did_you_mean(stage, stages)}'
        raise SettingsError([Problem("stage", message)])
    if not re.fullmatch(STAGE_PATTERN, stage):
        message = f'"{stage}" is no name for a stage: at most 16 of a-z, 0-9 and -, a letter first'
        raise SettingsError([Problem("stage", message)])
    if not isinstance(stages[stage], dict):
        raise SettingsError([Problem(f"facetrain.{stage}", f"{stages[stage]!r} is not an object")])
    return dict(stages[stage])


def _overrides(context: Mapping[str, Any]) -> dict[str, Any]:
    """What `-c` sets, as strings. The CDK's own keys hold a colon or a slash (flags, cached look-ups)."""
    ours = {"stage", "facetrain"}
    return {
        name: _typed(text)
        for name, text in context.items()
        if name not in ours and not re.search("[:/]", name)
    }


def _typed(text: Any) -> Any:
    """`-c removable=true` means the JSON value; what is no JSON is text."""
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def _split(written: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings proper, and those of `resources`, whether nested or dotted."""
    own = dict(written)
    resources = own.pop("resources", {})
    if not isinstance(resources, dict):
        raise SettingsError([Problem("resources", f"{resources!r} is not an object")])
    for name in [name for name in own if name.startswith("resources.")]:
        resources = resources | {name.removeprefix("resources."): own.pop(name)}
    return own, resources


def _parse_all(written: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    values: dict[str, Any] = {}
    problems = []
    for name, value in written.items():
        if name not in _PARSERS:
            problems.append(Problem(name, f"unknown setting{did_you_mean(name, _NAMES)}"))
            continue
        try:
            if value is not None:  # null: the default
                values[name] = _PARSERS[name](value)
        except ValueError as error:
            problems.append(Problem(name, str(error)))
    return values, problems


def _contradictions(settings: Settings) -> Iterator[Problem]:
    """What is right by itself and wrong together."""
    if settings.image_uri and settings.image_base:
        yield Problem(
            "image_base", "has no effect beside image_uri, which is not built: leave one of them out"
        )
    if settings.image_uri and settings.image_device != IMAGE_DEVICES[0]:
        yield Problem(
            "image_device", "has no effect beside image_uri, which is not built: leave one of them out"
        )
    if bool(settings.subnets) != bool(settings.security_groups):
        missing = "security_groups" if settings.subnets else "subnets"
        yield Problem(missing, "is missing: a VPC takes subnets and security groups together")
    if settings.monthly_budget_usd and not settings.email:
        yield Problem("email", "is missing: a budget has to warn somebody")
    yield from _retention_contradictions(settings)


def _retention_contradictions(settings: Settings) -> Iterator[Problem]:
    """What S3 refuses, and what would start a job again: a manifest that outlives the record of its job."""
    outputs = settings.outputs_days
    if outputs is None:
        return
    if outputs <= settings.tiering_days:
        message = f"{outputs} is not more than tiering_days ({settings.tiering_days}), as S3 asks"
        yield Problem("outputs_days", f"{message}: keep outputs longer, or let them move earlier")
    if settings.inputs_days is None or settings.inputs_days > outputs:
        message = f"has to be at most outputs_days ({outputs}): a manifest that outlives its job's record"
        yield Problem("inputs_days", f"{message} might start the job again")
