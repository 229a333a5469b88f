"""What the pages must say, made from the code that they describe."""

import json
import re

import pytest

from tests.jobs.examples import NOW
from training.jobs.algorithms import Knob
from training.jobs.config import bounds
from training.jobs.manifest import ManifestError, parse
from training.jobs.platform import Platform
from training.jobs.uri import S3Uri


def knob_row(name: str, knob: Knob) -> str:
    """The line of docs/manifest.md about one hyperparameter."""
    if knob.choices:
        values = ", ".join(f"`{choice}`" for choice in knob.choices)
    elif knob.kind is bool:
        values = "`true`, `false`"
    elif knob.kind is str:
        values = "text"
    else:
        values = f"{'whole number' if knob.kind is int else 'number'}, {bounds(knob)}"
    default = (
        "none"
        if knob.default == ""
        else f"`{str(knob.default).lower() if knob.kind is bool else knob.default}`"
    )
    return f"| `{name}` | {knob.doc} | {values} | {default} |"


_RIGHT: dict[str, object] = {"schema": 1, "algorithm": "arcface", "channels": {"images": "images/"}}

WRONG = {
    "not JSON": '{"schema": 1,}',
    "another version": json.dumps(_RIGHT | {"schema": 2}),
    "an unknown key": json.dumps(_RIGHT | {"hyperparams": {}}),
    "a bucket that is not allowed": json.dumps(_RIGHT | {"channels": {"images": "s3://elsewhere/images/"}}),
    "a hyperparameter out of range": json.dumps(_RIGHT | {"hyperparameters": {"epochs": 0}}),
    "a number as a text": json.dumps(_RIGHT | {"hyperparameters": {"epochs": "20"}}),
    "a basis that has ended": json.dumps(_RIGHT | {"governance": {"expires_at": "2026-06-30"}}),
    "waiting shorter than running": json.dumps(
        _RIGHT | {"resources": {"max_runtime_hours": 24, "max_wait_hours": 2}}
    ),
}

# The manifest that docs/manifest.md shows the answer to.
REFUSED = json.dumps(
    {
        "schema": 1,
        "algorithm": "arcface",
        "channels": {"image": "images/"},
        "hyperparameters": {"epoch": 20, "lr": "0.1"},
        "resources": {"instance_type": "ml.g6.xlage"},
    }
)


def problems_of(text: str) -> list[str]:
    """What is said of a manifest in deployment dev."""
    platform = Platform.example("dev")
    location = S3Uri(platform.inputs_bucket, "inputs/staff/manifest.json")
    with pytest.raises(ManifestError) as caught:
        parse(text, location, platform, NOW)
    return [str(problem) for problem in caught.value.problems]


def error_row(what: str) -> str:
    """The line of docs/manifest.md about one kind of mistake."""
    return f"| {what} | `{problems_of(WRONG[what])[0]}` |"


def fenced(text: str, *languages: str) -> list[str]:
    """The code blocks of a page in these languages."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in blocks if language in languages]


def commands(text: str) -> list[str]:
    """Every `facetrain …` that a page tells its reader to type, in a code block or in backticks."""
    lines = [line for block in fenced(text, "sh", "console") for line in block.splitlines()]
    typed = [line.removeprefix("$ ").partition("  #")[0] for line in lines]
    evaluated = re.findall(r"\$\((facetrain [^)]*)\)", "\n".join(typed))
    prose = re.findall(
        r"`(facetrain [^`\n]*)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    return [line.strip() for line in [*typed, *evaluated, *prose] if line.startswith("facetrain ")]
