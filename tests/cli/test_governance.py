"""A basis that lacks or has ended is refused on the user's machine, before anything is sent."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import PLATFORM, Facetrain
from tests.cli.fake_aws import FakeAws

SMALLEST = {"schema": 1, "algorithm": "arcface", "channels": {"images": "images/"}}
HELD = {"legal_basis": "consent", "expires_at": "2999-12-31"}
OVER = SMALLEST | {"governance": HELD | {"expires_at": "2020-01-31"}}
REASON = (
    "governance.expires_at: the basis ended with 2020-01-31 (UTC): "
    "renew it and write its new end, or delete the data\n"
)
MISSING = "is missing, and this deployment requires it: write one such as"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two people, a picture of each."""
    folder = tmp_path / "staff"
    for person in ("ada", "grace"):
        (folder / "images" / person).mkdir(parents=True)
        (folder / "images" / person / "1.jpg").write_bytes(person.encode())
    return folder


@pytest.fixture
def over(photos: Path) -> Path:
    path = photos / "manifest.json"
    path.write_text(json.dumps(OVER))
    return path


def governance_in(aws: FakeAws) -> object:
    return json.loads(aws.objects[f"{PLATFORM.inputs_bucket}/inputs/staff/manifest.json"].data)["governance"]


def test_a_push_after_the_basis_ended_sends_nothing(facetrain: Facetrain, aws: FakeAws, over: Path) -> None:
    ran = facetrain("dataset", "push", over.parent, "staff")
    assert (ran.code, ran.err) == (2, REASON)
    assert aws.puts() == []


def test_a_submit_after_the_basis_ended_puts_no_manifest(
    facetrain: Facetrain, aws: FakeAws, over: Path
) -> None:
    ran = facetrain("submit", over)
    assert (ran.code, ran.err) == (2, REASON)
    assert aws.puts() == []


def test_a_dry_run_says_so_without_a_cloud(no_cloud: Facetrain, over: Path) -> None:
    ran = no_cloud("submit", over, "--dry-run")
    assert (ran.code, ran.out) == (2, "")
    assert REASON in ran.err


def test_a_push_without_what_the_deployment_requires_is_refused_key_by_key(
    facetrain: Facetrain, strict: FakeAws, photos: Path
) -> None:
    ran = facetrain("dataset", "push", photos, "staff")
    assert ran.code == 2
    assert ran.err.splitlines() == [
        f'governance.legal_basis: {MISSING} "consent"',
        f'governance.expires_at: {MISSING} "2027-06-30"',
    ]
    assert strict.puts() == []


def test_a_submit_without_what_the_deployment_requires_is_refused(
    facetrain: Facetrain, strict: FakeAws, photos: Path
) -> None:
    path = photos / "manifest.json"
    path.write_text(json.dumps(SMALLEST))
    ran = facetrain("submit", path, "--dry-run")
    assert ran.code == 2
    assert f"governance.legal_basis: {MISSING}" in ran.err


def test_the_basis_can_be_typed_where_there_is_no_manifest(
    facetrain: Facetrain, strict: FakeAws, photos: Path
) -> None:
    typed = [part for item in HELD.items() for part in ("--governance", "=".join(item))]
    assert facetrain("dataset", "push", photos, "staff", *typed).code == 0
    assert governance_in(strict) == HELD


def test_what_is_typed_ranks_above_the_manifest_and_leaves_the_rest(
    facetrain: Facetrain, aws: FakeAws, over: Path
) -> None:
    renewed = ("--governance", "expires_at=2999-12-31")
    assert facetrain("dataset", "push", over.parent, "staff", *renewed).code == 0
    assert governance_in(aws) == HELD


def test_a_wrong_key_or_form_is_refused_with_the_nearest(
    facetrain: Facetrain, aws: FakeAws, photos: Path
) -> None:
    wrong = ("--governance", "legal_bases=consent", "--governance", "source")
    ran = facetrain("dataset", "push", photos, "staff", *wrong)
    assert ran.code == 2
    assert ran.err.splitlines() == [
        '--governance legal_bases=consent: no such key (did you mean "legal_basis"?)',
        "--governance source: is not of the form key=value",
    ]
    assert aws.puts() == []
