"""The published schema is the one that the code makes, and says what the validation says."""

import json
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

from tests.jobs.examples import SMALLEST, problems_of
from training.jobs.algorithms import ALGORITHMS
from training.jobs.schema import manifest_schema

PUBLISHED = Path(__file__).parents[2] / "docs" / "manifest.schema.json"
VALIDATOR = jsonschema.Draft202012Validator(manifest_schema())


def test_the_published_schema_is_the_one_that_the_code_makes() -> None:
    assert json.loads(PUBLISHED.read_text()) == manifest_schema(), (
        "python -m training.jobs.schema > docs/manifest.schema.json"
    )


def test_the_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(manifest_schema())


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**6)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "r50", "ml.g6.xlarge", "ml.p3.2xlarge", "images/", "consent", "fp32", "on"])
)
_KNOBS = st.dictionaries(st.sampled_from([*ALGORITHMS["arcface"].knobs, "epoch"]), _SCALARS, max_size=3)
_RESOURCES = st.dictionaries(
    st.sampled_from(["instance_type", "instance_count", "volume_gb", "spot", "max_runtime_hours", "disk"]),
    _SCALARS,
    max_size=3,
)
_GOVERNANCE = st.dictionaries(
    st.sampled_from(["legal_basis", "source", "purpose", "contact", "who"]), _SCALARS
)
_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "schema": st.sampled_from([1, 2, "1", True, None]) | _SCALARS,
        "algorithm": st.sampled_from(["arcface", "yolo", 3]),
        "hyperparameters": _KNOBS | _SCALARS.filter(lambda value: value is not None),
        "resources": _RESOURCES,
        "governance": _GOVERNANCE,
        "input_mode": st.sampled_from(["File", "FastFile", "fastfile", "Pipe"]) | _SCALARS,
        "extra": _SCALARS,
    },
)


@given(_CHANGES)
def test_schema_and_validation_agree_on_every_kind_of_change(change: dict[str, Any]) -> None:
    document = SMALLEST | change
    assert VALIDATOR.is_valid(document) == (problems_of(document) == []), (
        problems_of(document),
        [error.message for error in VALIDATOR.iter_errors(document)],
    )
