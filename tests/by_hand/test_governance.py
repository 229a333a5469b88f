"""A job by hand says on what basis its data is used, and obeys the deployment whose role it takes."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.by_hand.conftest import DEPLOYED, ORDER, Account, TrainingJob
from training.jobs import contract

DEPLOYED_ORDER = (*ORDER[2:], "--image", DEPLOYED.images["arcface"])  # no role of its own
OVER = "the basis ended with 2020-01-31 (UTC): renew it and write its new end, or delete the data"


@pytest.fixture
def strict(account: Account) -> Account:
    platform = dataclasses.replace(DEPLOYED, governance_required=("legal_basis",))
    account.aws.handlers["AmazonSSM.GetParameter"] = lambda _: {"Parameter": {"Value": platform.to_json()}}
    return account


def tags(request: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in request["Tags"]}


def test_the_basis_is_in_the_jobs_tags_and_told_to_the_model_card(training_job: TrainingJob) -> None:
    request = training_job.dry(*ORDER, "--governance", "legal_basis=consent (2026)")
    assert tags(request)["facetrain:legal-basis"] == "consent _2026_"
    assert request["Environment"][contract.ABOUT_PREFIX + "LEGAL_BASIS"] == "consent (2026)"


def test_an_ended_basis_starts_nothing(training_job: TrainingJob, account: Account) -> None:
    ran = training_job(*ORDER, "--governance", "expires_at=2020-01-31")
    assert (ran.code, ran.err.splitlines()) == (2, [f"--governance expires_at: {OVER}"])
    assert account.jobs == {}


def test_an_ended_basis_starts_nothing_on_this_machine_either(
    training_job: TrainingJob, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    here = ("--images", str(tmp_path / "photos"), "--output", str(tmp_path / "out"))
    ran = training_job(
        *here, "--instance-type", "local", "--dry-run", "--governance", "expires_at=2020-01-31"
    )
    assert (ran.code, ran.err.splitlines()) == (2, [f"--governance expires_at: {OVER}"])


def test_what_the_deployment_requires_is_required_of_who_takes_its_role(
    training_job: TrainingJob, strict: Account
) -> None:
    ran = training_job(*DEPLOYED_ORDER, "--dry-run")
    assert (ran.code, ran.err.splitlines()) == (
        2,
        [
            "--governance legal_basis: is missing, and this deployment requires it: "
            'write one such as "consent"'
        ],
    )
    request = training_job.dry(*DEPLOYED_ORDER, "--governance", "legal_basis=consent")
    assert request["RoleArn"] == DEPLOYED.role_arn


def test_a_wrong_form_is_told_with_the_other_mistakes(training_job: TrainingJob) -> None:
    ran = training_job(*ORDER, "--governance", "legal_bases=consent", "--set", "epoch=3")
    assert [line.partition(": ")[0] for line in ran.err.splitlines()] == [
        "--set epoch=3",
        "--governance legal_bases=consent",
    ]
