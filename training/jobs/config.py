"""A job's configuration: built-in defaults, then cfg/train-args.json, then the manifest's hyperparameters."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from training.jobs import contract
from training.jobs.algorithms import Algorithm, Knob
from training.jobs.problems import Problem, ProblemsError, did_you_mean

# Names that existing train-args.json files use for the same things.
TRAIN_ARGS_ALIASES = {
    "backbone": "network",
    "arch": "network",
    "batch": "batch_size",
    "num_epoch": "epochs",
    "num_epochs": "epochs",
    "learning_rate": "lr",
    "pretrained_model": "pretrained",
    "pretrained_model_name": "pretrained",
    "model_name": "pretrained",
    "weights": "pretrained",
    "img": "image_size",
    "imgsz": "image_size",
    "img_size": "image_size",
}
_BOOLEANS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


class ConfigError(ProblemsError):
    """A hyperparameter is unknown, of the wrong kind or out of range."""


def convert(knob: Knob, value: Any, *, typed: bool = False) -> Any:
    """`value` as the knob's kind, or ValueError saying why not.

    typed: the value comes from the manifest, where a number is a JSON number; SageMaker and many
    train-args.json files write it as a string.
    """
    if typed and isinstance(value, str) and knob.kind is not str:
        raise ValueError(f"{json.dumps(value)} is a string: write {_example(knob, value)} without quotes")
    if knob.kind is str:
        return _choice(knob, value)
    if knob.kind is bool:
        return _boolean(value, typed)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{json.dumps(value)} is not a number")
    return _in_range(knob, _number(knob.kind, value))


def check(
    algorithm: Algorithm, values: Mapping[str, Any], place: str, *, typed: bool = False
) -> tuple[dict[str, Any], list[Problem]]:
    """The values that are right, as the kinds they have, and a problem for each that is not."""
    good: dict[str, Any] = {}
    problems = []
    for name, value in values.items():
        path = f"{place}.{name}"
        knob = algorithm.knobs.get(name)
        if knob is None:
            hint = did_you_mean(name, algorithm.knobs)
            problems.append(Problem(path, f"{algorithm.name} has no such hyperparameter{hint}"))
            continue
        try:
            good[name] = convert(knob, value, typed=typed)
        except ValueError as error:
            problems.append(Problem(path, str(error)))
    return good, problems


def resolve(
    algorithm: Algorithm, train_args: Mapping[str, Any], hyperparameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole configuration, every knob set. Raises ConfigError with every problem at once.

    train_args: what cfg/train-args.json holds; hyperparameters: the strings of hyperparameters.json. The key
    `algorithm` in the latter is the request's own and is passed over.
    """
    from_file, file_problems = check(algorithm, _canonical(train_args), f"cfg/{contract.TRAIN_ARGS_NAME}")
    given = {name: value for name, value in hyperparameters.items() if name != "algorithm"}
    from_job, job_problems = check(algorithm, given, "hyperparameters")
    if file_problems or job_problems:
        raise ConfigError(file_problems + job_problems)
    defaults = {name: knob.default for name, knob in algorithm.knobs.items()}
    return defaults | from_file | from_job


def parse_train_args(text: str) -> dict[str, Any]:
    """The object in cfg/train-args.json. Raises ConfigError where it is no JSON object."""
    path = f"cfg/{contract.TRAIN_ARGS_NAME}"
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        message = f"is not JSON (line {error.lineno}, column {error.colno}: {error.msg})"
        raise ConfigError([Problem(path, message)]) from None
    if not isinstance(value, dict):
        raise ConfigError([Problem(path, 'must hold an object such as {"epochs": 20}')])
    return value


def _canonical(train_args: Mapping[str, Any]) -> dict[str, Any]:
    dashed = {name.lstrip("-").replace("-", "_"): value for name, value in train_args.items()}
    return {TRAIN_ARGS_ALIASES.get(name, name): value for name, value in dashed.items()}


def _choice(knob: Knob, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{json.dumps(value)} is not a string")
    if knob.choices and value not in knob.choices:
        raise ValueError(f'"{value}" is not one of {", ".join(knob.choices)}{_guess(value, knob.choices)}')
    if knob.pattern and not re.fullmatch(knob.pattern, value):
        raise ValueError(f'"{value[:40]}" is not written like "{knob.default}"')
    return value


def _guess(value: str, choices: tuple[str, ...]) -> str:
    hint = did_you_mean(value, choices)
    return hint if "did you mean" in hint else ""


def _boolean(value: Any, typed: bool) -> bool:
    if isinstance(value, bool):
        return value
    found = None if typed else _BOOLEANS.get(str(value).lower())
    if found is None:
        raise ValueError(f"{json.dumps(value)} is neither true nor false")
    return found


def _example(knob: Knob, value: str) -> str:
    try:
        convert(knob, value)
    except ValueError:
        return json.dumps(knob.default)
    return value


def _number(kind: type, value: float | str) -> int | float:
    what = "a whole number" if kind is int else "a number"
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{str(value)[:40]!r} is not {what}") from None
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a finite number")
    if kind is float:
        return number
    if number != int(number):
        raise ValueError(f"{value} is not a whole number")
    return int(number)


def _in_range(knob: Knob, number: float) -> float:
    too_low = knob.minimum is not None and number < knob.minimum
    not_above = knob.above is not None and number <= knob.above
    too_high = knob.maximum is not None and number > knob.maximum
    if too_low or not_above or too_high:
        raise ValueError(f"{number:g} is out of range: it must be {bounds(knob)}")
    return number


def bounds(knob: Knob) -> str:
    """`at least 1 and at most 1000`."""
    parts = [f"above {knob.above:g}"] if knob.above is not None else []
    parts += [f"at least {knob.minimum:g}"] if knob.minimum is not None else []
    parts += [f"at most {knob.maximum:g}"] if knob.maximum is not None else []
    return " and ".join(parts)
