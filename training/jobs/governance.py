"""The manifest's `governance` block: why these faces may be used, and until when. Reads no clock itself.

`now` is given in seconds since 1970, which are the same in every time zone; a day ends at midnight UTC.
"""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from training.jobs import contract
from training.jobs.problems import Problem, did_you_mean, shown
from training.jobs.resources import MIN_HOURS, Resources

EXPIRY = "expires_at"
EXAMPLES = {  # of every key that the block may hold
    "legal_basis": "consent",
    "source": "staff enrolment 2026",
    "purpose": "access control",
    EXPIRY: "2027-06-30",
    "contact": "privacy@example.org",
}


def check(section: Mapping[str, Any], required: Iterable[str], now: float) -> list[Problem]:
    """Everything that is wrong with the block: unknown or missing keys, wrong values, a basis that ended."""
    problems = [
        Problem(f"governance.{name}", text) for name in section if (text := _wrong(name, section, now))
    ]
    return problems + [
        Problem(
            f"governance.{name}",
            f'is missing, and this deployment requires it: write one such as "{EXAMPLES[name]}"',
        )
        for name in required
        if name not in section
    ]


def within_basis(resources: Resources, section: Mapping[str, str], now: float) -> Resources:
    """The same machines for no longer than the basis holds, so that no job works on after its end."""
    if EXPIRY not in section:
        return resources
    hours = max(MIN_HOURS, (end_of(section[EXPIRY]) - now) / 3600)
    return replace(
        resources,
        max_runtime_hours=min(hours, resources.max_runtime_hours),
        max_wait_hours=min(hours, resources.max_wait_hours),
    )


def _wrong(name: str, section: Mapping[str, Any], now: float) -> str:
    """What is wrong with one key; empty where nothing is."""
    value = section[name]
    if name not in EXAMPLES:
        return f"unknown key{did_you_mean(name, EXAMPLES)}"
    if not isinstance(value, str) or not value.strip():
        return f"{shown(value)} is not a text"
    if len(value) > contract.TAG_VALUE_LIMIT:
        return f"is longer than {contract.TAG_VALUE_LIMIT} characters"
    if name != EXPIRY:
        return ""
    try:
        expired = end_of(value) <= now
    except ValueError:
        return f'"{value}" is not a date: write one such as "{EXAMPLES[EXPIRY]}"'
    return (
        f"the basis ended with {value} (UTC): renew it and write its new end, or delete the data"
        if expired
        else ""
    )


def end_of(text: str) -> int:
    """When the day is over. Raises ValueError where `text` is no date such as 2027-06-30."""
    day = datetime.date.fromisoformat(text)
    if day.isoformat() != text:  # 20270630 and 2027-W26-3 name days, too
        raise ValueError(text)
    return ((day - datetime.date(1970, 1, 1)).days + 1) * 86400
