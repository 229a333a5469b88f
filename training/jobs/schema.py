"""The manifest's JSON Schema (2020-12), made from the tables that the validation itself uses.

`python -m training.jobs.schema > docs/manifest.schema.json` publishes it; a test keeps the file true. What a
schema cannot say (buckets, dates that exist and are to come, wait against running time, what a deployment
requires) only `manifest.parse` checks.
"""

import json
from typing import Any

from training.jobs import contract, governance, manifest, resources
from training.jobs.algorithms import ALGORITHMS, Algorithm, Knob
from training.jobs.instance_types import INSTANCE_TYPES, RETIRED_FAMILIES, family

_JSON_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}
_DESCRIPTIONS = {
    "legal_basis": "why these faces may be processed, such as consent",
    "source": "where the images come from",
    "purpose": "what the model is for",
    "expires_at": "the day until which the basis holds, YYYY-MM-DD",
    "contact": "who answers questions about the data; never copied into tags",
}


def manifest_schema() -> dict[str, Any]:
    """The schema of manifest.json for every algorithm that is registered."""
    properties = {
        "$schema": {"type": "string", "description": "for editors; passed over"},
        "schema": {"const": manifest.SCHEMA_VERSION, "description": "version of this format"},
        "algorithm": {"enum": list(ALGORITHMS)},
        "channels": {"type": "object"},
        "input_mode": {
            "enum": list(contract.INPUT_MODES),
            "default": contract.FILE_MODE,
            "description": "copy images and validation to the machine's disk first, or read them from S3",
        },
        "hyperparameters": {"type": "object"},
        "resources": _resources(),
        "governance": _governance(),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Facetrain manifest",
        "description": "Dropped last into a dataset's folder in S3, it starts training.",
        "type": "object",
        "properties": properties,
        "required": ["schema", "algorithm", "channels"],
        "additionalProperties": False,
        "allOf": [_of_algorithm(algorithm) for algorithm in ALGORITHMS.values()],
    }


def _of_algorithm(algorithm: Algorithm) -> dict[str, Any]:
    channels = {
        "properties": dict.fromkeys(algorithm.channels, _CHANNEL),
        "required": list(algorithm.required_channels),
        "additionalProperties": False,
    }
    hyperparameters = {
        "properties": {name: _knob(knob) for name, knob in algorithm.knobs.items()},
        "additionalProperties": False,
    }
    return {
        "if": {"properties": {"algorithm": {"const": algorithm.name}}, "required": ["algorithm"]},
        "then": {"properties": {"channels": channels, "hyperparameters": hyperparameters}},
    }


_CHANNEL = {
    "type": "string",
    "minLength": 1,
    "description": "a folder or file below the manifest's folder, or an s3:// address in an allowed bucket",
}


def _knob(knob: Knob) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": _JSON_TYPES[knob.kind],
        "description": knob.doc,
        "default": knob.default,
    }
    limits = {"minimum": knob.minimum, "maximum": knob.maximum, "exclusiveMinimum": knob.above}
    schema |= {name: value for name, value in limits.items() if value is not None}
    if knob.pattern:
        schema["pattern"] = f"^{knob.pattern}$"
    return schema | ({"enum": list(knob.choices)} if knob.choices else {})


def _resources() -> dict[str, Any]:
    usable = sorted(name for name in INSTANCE_TYPES if family(name) not in RETIRED_FAMILIES)
    hours = {"type": "number", "minimum": resources.MIN_HOURS, "maximum": resources.MAX_HOURS}
    properties = {
        "instance_type": {"enum": usable},
        "instance_count": {"type": "integer", "minimum": 1, "maximum": contract.INSTANCE_COUNT_LIMIT},
        "volume_gb": {"type": "integer", "minimum": 1, "maximum": contract.VOLUME_GB_LIMIT},
        "spot": {"type": "boolean"},
        "max_runtime_hours": hours,
        "max_wait_hours": hours,
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _governance() -> dict[str, Any]:
    text = {"type": "string", "pattern": r"\S", "maxLength": contract.TAG_VALUE_LIMIT}
    properties = {name: {**text, "description": _DESCRIPTIONS[name]} for name in governance.EXAMPLES}
    properties["expires_at"] |= {"pattern": r"^\d{4}-\d{2}-\d{2}$"}
    return {"type": "object", "properties": properties, "additionalProperties": False}


if __name__ == "__main__":
    print(json.dumps(manifest_schema(), indent=2))
