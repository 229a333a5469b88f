"""The machines of a job, as a manifest asks for them."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from training.jobs import contract
from training.jobs.instance_types import INSTANCE_TYPES, RETIRED_FAMILIES, family
from training.jobs.problems import Problem, did_you_mean, shown

MIN_HOURS = contract.MIN_RUNTIME_SECONDS / 3600
MAX_HOURS = contract.MAX_RUNTIME_SECONDS_LIMIT / 3600


@dataclass(frozen=True)
class Resources:
    """The machines of a job. Sizes in GiB, times in hours."""

    instance_type: str = "ml.g6.xlarge"
    instance_count: int = 1
    volume_gb: int = 100
    spot: bool = True
    max_runtime_hours: float = 24
    max_wait_hours: float = 48


def resources_of(section: Mapping[str, Any], defaults: Resources) -> tuple[Resources, list[Problem]]:
    """The machines that a manifest's `resources` ask for, what it omits taken from `defaults`."""
    good: dict[str, Any] = {}
    problems = []
    for name, value in section.items():
        if name not in _CHECKS:
            problems.append(Problem(f"resources.{name}", f"unknown key{did_you_mean(name, _CHECKS)}"))
            continue
        try:
            good[name] = _CHECKS[name](value)
        except ValueError as error:
            problems.append(Problem(f"resources.{name}", str(error)))
    resources = dataclasses.replace(defaults, **good)
    if "max_wait_hours" not in good:
        longest = max(resources.max_wait_hours, resources.max_runtime_hours)
        return dataclasses.replace(resources, max_wait_hours=longest), problems
    if resources.spot and resources.max_wait_hours < resources.max_runtime_hours:
        message = (
            f"{resources.max_wait_hours:g} is less than max_runtime_hours ({resources.max_runtime_hours:g})"
        )
        problems.append(
            Problem("resources.max_wait_hours", f"{message}: a spot job's wait includes its running time")
        )
    return resources, problems


def _instance_type(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f'{shown(value)} is not an instance type: write one such as "ml.g6.xlarge"')
    if value not in INSTANCE_TYPES:
        near = did_you_mean(value, INSTANCE_TYPES)
        raise ValueError(f'"{value}" is not an instance type for training{near if "mean" in near else ""}')
    if family(value) in RETIRED_FAMILIES:
        raise ValueError(f'"{value}" is retired: use one such as "ml.g6.xlarge" or "ml.g5.xlarge"')
    return value


def _whole_number(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise ValueError(f"{shown(value)} is not a whole number")
        if not least <= value <= most:
            raise ValueError(
                f"{shown(value)} is out of range: it must be at least {least} and at most {most}"
            )
        return int(value)

    return check


def _hours(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{shown(value)} is not a number of hours")
    if not MIN_HOURS <= value <= MAX_HOURS:
        raise ValueError(
            f"{shown(value)} is out of range: it must be at least one minute and at most {MAX_HOURS:g}"
        )
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is neither true nor false")
    return value


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "instance_type": _instance_type,
    "instance_count": _whole_number(1, contract.INSTANCE_COUNT_LIMIT),
    "volume_gb": _whole_number(1, contract.VOLUME_GB_LIMIT),
    "spot": _flag,
    "max_runtime_hours": _hours,
    "max_wait_hours": _hours,
}
