"""Why faces may be used and until when: what a deployment requires, and what becomes of a basis that ends."""

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest

from tests.jobs.examples import NOW, PLATFORM, SMALLEST, parsed, problems_of
from training.jobs import governance
from training.jobs.platform import Platform
from training.jobs.request import build_request

STRICT = dataclasses.replace(PLATFORM, governance_required=("legal_basis", "expires_at"))
LAST_DAY = SMALLEST | {"governance": {"expires_at": "2027-01-15"}}  # NOW is 08:00 UTC of it


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def limits(document: dict[str, Any], now: float) -> dict[str, int]:
    request = build_request(parsed(document, now=now), PLATFORM, "facetrain-example-staff-0123")
    found: dict[str, int] = request["StoppingCondition"]
    return found


def test_nothing_is_required_unless_the_deployment_says_so() -> None:
    assert problems_of(SMALLEST) == []


def test_each_missing_key_is_told_with_an_example_beside_all_other_errors() -> None:
    found = {it.path: it.message for it in problems_of(SMALLEST | {"schema": 2}, platform=STRICT)}
    assert set(found) == {"schema", "governance.legal_basis", "governance.expires_at"}
    assert found["governance.legal_basis"] == (
        'is missing, and this deployment requires it: write one such as "consent"'
    )


def test_a_key_that_is_there_and_blank_is_no_basis() -> None:
    block = {"legal_basis": " ", "expires_at": "2027-06-30"}
    (found,) = problems_of(SMALLEST | {"governance": block}, platform=STRICT)
    assert str(found) == 'governance.legal_basis: " " is not a text'


def test_what_holds_all_that_is_required_is_taken() -> None:
    block = {"legal_basis": "consent", "expires_at": "2027-06-30"}
    assert problems_of(SMALLEST | {"governance": block}, platform=STRICT) == []


@pytest.mark.parametrize("key", governance.EXAMPLES)
def test_each_example_is_one_that_is_taken(key: str) -> None:
    block = {key: governance.EXAMPLES[key]}
    assert parsed(SMALLEST | {"governance": block}, now=0.0).governance == block


@pytest.mark.parametrize("moment", ["2027-01-15T23:59:59+00:00", "2027-01-15T18:59:59-05:00"])
def test_the_last_day_counts_to_its_end_in_utc_wherever_the_clock_hangs(moment: str) -> None:
    assert problems_of(LAST_DAY, now=at(moment)) == []


@pytest.mark.parametrize("moment", ["2027-01-16T00:00:00+00:00", "2027-01-15T19:00:00-05:00"])
def test_a_basis_that_has_ended_is_refused_with_the_reason(moment: str) -> None:
    (found,) = problems_of(LAST_DAY, now=at(moment))
    assert found.path == "governance.expires_at"
    assert found.message == (
        "the basis ended with 2027-01-15 (UTC): renew it and write its new end, or delete the data"
    )


@pytest.mark.parametrize("date", ["20270630", "2027-W26-3", "2027-6-30", "", "2027-06-30T12:00"])
def test_a_date_is_written_in_one_way_alone(date: str) -> None:
    (found,) = problems_of(SMALLEST | {"governance": {"expires_at": date}})
    assert found.path == "governance.expires_at"


def test_a_job_may_not_run_on_after_its_basis_has_ended() -> None:
    assert limits(LAST_DAY, NOW) == {"MaxRuntimeInSeconds": 16 * 3600, "MaxWaitTimeInSeconds": 16 * 3600}


def test_a_job_that_ends_before_its_basis_keeps_its_time() -> None:
    short = LAST_DAY | {"resources": {"max_runtime_hours": 2, "max_wait_hours": 3}}
    assert limits(short, NOW) == {"MaxRuntimeInSeconds": 2 * 3600, "MaxWaitTimeInSeconds": 3 * 3600}


def test_the_last_seconds_still_leave_the_least_time_that_a_job_takes() -> None:
    assert limits(LAST_DAY, at("2027-01-15T23:59:59+00:00"))["MaxRuntimeInSeconds"] == 60


def test_what_a_deployment_requires_survives_its_json_and_an_older_one_requires_nothing() -> None:
    assert Platform.from_json(STRICT.to_json()) == STRICT
    older = json.loads(PLATFORM.to_json())
    del older["governance_required"]
    assert Platform.from_json(json.dumps(older)) == PLATFORM
