"""`doctor`: each thing that a first job lacks is found, named, and comes with what to do."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Facetrain
from tests.cli.fake_aws import FakeAws, ServiceError
from training.jobs.platform import Platform

ACCOUNT = "000000000000"
STACKS = {
    "Facetrain-dev-Storage": "CREATE_COMPLETE",
    "Facetrain-dev-Launcher": "UPDATE_COMPLETE",
    "Other": "DELETE_FAILED",
}
QUOTAS = {"ml.g6.xlarge for spot training job usage": 2.0, "ml.g6.xlarge for training job usage": 1.0}


def member(name: str, fields: Mapping[str, str]) -> str:
    return f"<{name}>" + "".join(f"<{key}>{value}</{key}>" for key, value in fields.items()) + f"</{name}>"


def stacks(found: Mapping[str, str]) -> dict[str, Any]:
    members = "".join(
        member("member", {"StackName": name, "StackStatus": status, "CreationTime": "2026-01-01T00:00:00Z"})
        for name, status in found.items()
    )
    answer = f"<DescribeStacksResult><Stacks>{members}</Stacks></DescribeStacksResult>"
    return {"xml": f"<DescribeStacksResponse>{answer}</DescribeStacksResponse>"}


def quotas(found: Mapping[str, float]) -> dict[str, Any]:
    return {
        "Quotas": [
            {"QuotaName": name, "Value": value, "QuotaCode": f"L-{number}"}
            for number, (name, value) in enumerate(found.items())
        ]
    }


def decision(query: Mapping[str, str], allowed: bool = True) -> dict[str, Any]:
    result = member(
        "member",
        {
            "EvalActionName": query["ActionNames.member.1"],
            "EvalDecision": "allowed" if allowed else "implicitDeny",
        },
    )
    answer = f"<EvaluationResults>{result}</EvaluationResults>"
    wrapped = f"<SimulatePrincipalPolicyResult>{answer}</SimulatePrincipalPolicyResult>"
    return {"xml": f"<SimulatePrincipalPolicyResponse>{wrapped}</SimulatePrincipalPolicyResponse>"}


@pytest.fixture
def healthy(aws: FakeAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeAws:
    """An account in which nothing is missing, and a machine with Docker."""
    arn = f"arn:aws:iam::{ACCOUNT}:user/someone"
    caller = member("GetCallerIdentityResult", {"Arn": arn, "UserId": "x", "Account": ACCOUNT})
    aws.handlers |= {
        "GetCallerIdentity": lambda _: {
            "xml": f"<GetCallerIdentityResponse>{caller}</GetCallerIdentityResponse>"
        },
        "DescribeStacks": lambda _: stacks(STACKS),
        "AmazonEC2ContainerRegistry.DescribeImages": lambda _: {"imageDetails": [{"imageTags": ["x"]}]},
        "ServiceQuotasV20190624.ListServiceQuotas": lambda _: quotas(QUOTAS),
        "ServiceQuotasV20190624.ListAWSDefaultServiceQuotas": lambda _: quotas({}),
        "SimulatePrincipalPolicy": decision,
    }
    docker(tmp_path, client="29.1.0", architecture="amd64")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return aws


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def docker(folder: Path, client: str, architecture: str, buildx: str = "echo v0.30.0") -> None:
    """A docker program whose engine answers; buildx: what the plugin does."""
    said = {"Client": {"Version": client}, "Server": {"Os": "linux", "Arch": architecture}}
    program(folder, "docker", f"if [ $1 = buildx ]; then {buildx}; else echo '{json.dumps(said)}'; fi")


def checks(facetrain: Facetrain, *arguments: str) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(facetrain("doctor", "--json", *arguments).out)}


def test_a_healthy_account_passes(facetrain: Facetrain, healthy: FakeAws) -> None:
    ran = facetrain("doctor")
    assert ran.code == 0, ran.out
    assert {line.split()[0] for line in ran.out.splitlines()} == {"ok"}


def test_nothing_is_asked_of_an_account_without_credentials(
    no_cloud: Facetrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    found = checks(no_cloud)
    assert found["region"]["detail"] == "eu-central-1"
    assert found["credentials"]["status"] == "fail"
    assert "aws sso login" in found["credentials"]["remedy"]
    assert {found[name]["status"] for name in ("stacks", "image", "quota", "permissions")} == {"skipped"}


def test_no_region_is_the_first_thing_said(no_cloud: Facetrain) -> None:
    ran = no_cloud("doctor")
    assert ran.code == 1
    assert ran.out.startswith("fail     region")


def test_a_quota_of_zero_fails_with_the_command_that_asks_for_more(
    facetrain: Facetrain, healthy: FakeAws
) -> None:
    healthy.handlers["ServiceQuotasV20190624.ListServiceQuotas"] = lambda _: quotas(
        dict.fromkeys(QUOTAS, 0.0)
    )
    ran = facetrain("doctor")
    assert ran.code == 1
    assert "ml.g6.xlarge for spot training job usage: 0" in ran.out
    assert (
        "request-service-quota-increase --service-code sagemaker --quota-code L-0 --desired-value 1"
        in ran.out
    )


def test_only_the_kind_of_machine_that_jobs_use_must_have_a_quota(
    facetrain: Facetrain, healthy: FakeAws
) -> None:
    on_demand = dict.fromkeys(["ml.g6.xlarge for training job usage"], 0.0)
    healthy.handlers["ServiceQuotasV20190624.ListServiceQuotas"] = lambda _: quotas(QUOTAS | on_demand)
    found = checks(facetrain)
    assert found["quota spot"]["status"] == "ok"
    assert found["quota on-demand"]["status"] == "warn"


def test_a_quota_that_the_account_never_touched_has_awss_default(
    facetrain: Facetrain, healthy: FakeAws
) -> None:
    healthy.handlers["ServiceQuotasV20190624.ListServiceQuotas"] = lambda _: quotas({})
    healthy.handlers["ServiceQuotasV20190624.ListAWSDefaultServiceQuotas"] = lambda _: quotas(QUOTAS)
    assert checks(facetrain)["quota spot"]["status"] == "ok"


def test_another_instance_types_quota_can_be_looked_at(facetrain: Facetrain, healthy: FakeAws) -> None:
    found = checks(facetrain, "--instance-type", "ml.p5.48xlarge")
    assert found["quota spot"]["status"] == "warn"
    assert "is ml.p5.48xlarge offered in this region?" in found["quota spot"]["detail"]


def test_a_stage_without_stacks_fails_with_how_to_deploy(facetrain: Facetrain, healthy: FakeAws) -> None:
    healthy.handlers["DescribeStacks"] = lambda _: stacks({"Other": "CREATE_COMPLETE"})
    found = checks(facetrain)
    assert (found["stacks"]["status"], found["stacks"]["remedy"]) == (
        "fail",
        "`npx cdk deploy --all -c stage=dev`",
    )


def test_a_stack_that_was_rolled_back_fails_by_its_name(facetrain: Facetrain, healthy: FakeAws) -> None:
    broken = STACKS | {"Facetrain-dev-Training": "ROLLBACK_COMPLETE"}
    healthy.handlers["DescribeStacks"] = lambda _: stacks(broken)
    check = checks(facetrain)["stacks"]
    assert (check["status"], check["detail"]) == ("fail", "Facetrain-dev-Training is ROLLBACK_COMPLETE")


def test_a_deployment_under_way_is_only_a_warning(facetrain: Facetrain, healthy: FakeAws) -> None:
    healthy.handlers["DescribeStacks"] = lambda _: stacks({"Facetrain-dev-Storage": "UPDATE_IN_PROGRESS"})
    assert checks(facetrain)["stacks"]["status"] == "warn"


@pytest.mark.parametrize("error", ["ImageNotFoundException", "RepositoryNotFoundException"])
def test_an_image_that_is_not_in_the_registry_fails(
    facetrain: Facetrain, healthy: FakeAws, error: str
) -> None:
    def missing(query: object) -> dict[str, Any]:
        raise ServiceError(error)

    healthy.handlers["AmazonEC2ContainerRegistry.DescribeImages"] = missing
    assert checks(facetrain)["image"]["status"] == "fail"


def test_the_image_of_every_algorithm_is_looked_for(facetrain: Facetrain, healthy: FakeAws) -> None:
    def only_the_first(body: dict[str, Any]) -> dict[str, Any]:
        return {"imageDetails": [{}] if body["repositoryName"].endswith("/arcface") else []}

    healthy.handlers["AmazonEC2ContainerRegistry.DescribeImages"] = only_the_first
    found = checks(facetrain)
    assert (found["image"]["status"], found["image yolov5"]["status"]) == ("ok", "fail")


def test_a_launcher_that_may_not_pass_the_role_fails(facetrain: Facetrain, healthy: FakeAws) -> None:
    healthy.handlers["SimulatePrincipalPolicy"] = lambda query: decision(
        query, allowed=query["ActionNames.member.1"] != "iam:PassRole"
    )
    check = checks(facetrain)["permissions"]
    assert check["status"] == "fail"
    assert "may not iam:PassRole on" in check["detail"]
    assert "CreateTrainingJob" not in check["detail"]


def test_the_simulator_is_told_to_whom_the_role_is_passed(facetrain: Facetrain, healthy: FakeAws) -> None:
    asked: list[Mapping[str, str]] = []

    def simulate(query: dict[str, Any]) -> Mapping[str, Any]:
        asked.append(query)
        return decision(query)

    healthy.handlers["SimulatePrincipalPolicy"] = simulate
    checks(facetrain)
    context = "ContextEntries.member.1."
    assert {query[f"{context}ContextKeyName"] for query in asked} == {"iam:PassedToService"}
    assert {query[f"{context}ContextKeyValues.member.1"] for query in asked} == {"sagemaker.amazonaws.com"}


def test_what_may_not_be_looked_at_is_a_warning(facetrain: Facetrain, healthy: FakeAws) -> None:
    for name in ("ServiceQuotasV20190624.ListServiceQuotas", "SimulatePrincipalPolicy"):
        del healthy.handlers[name]
    ran = facetrain("doctor")
    assert ran.code == 0
    assert "warn     quota spot" in ran.out
    assert "could not be looked at" in ran.out


def test_no_docker_is_a_warning_that_says_when_it_is_needed(
    facetrain: Facetrain, healthy: FakeAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    check = checks(facetrain)["docker"]
    assert check["status"] == "warn"
    assert check["detail"].startswith("no `docker` on PATH: install Docker")
    assert check["remedy"] == "needed only by `cdk deploy` and build-and-push.sh, which build the image"


def test_on_this_machine_docker_is_needed_by_container_jobs_alone(
    facetrain: Facetrain, healthy: FakeAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    check = checks(facetrain, "--stage", "local")["docker"]
    assert check["status"] == "skipped"
    assert check["detail"].startswith(
        "needed only by `facetrain local up --runner docker`: no `docker` on PATH"
    )


def test_a_docker_whose_engine_is_down_is_a_warning(
    facetrain: Facetrain, healthy: FakeAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    check = checks(facetrain)["docker"]
    assert check["status"] == "warn"
    assert "Cannot connect to the Docker daemon: start Docker Desktop, or `sudo systemctl" in check["detail"]


def test_a_docker_that_cannot_build_is_a_warning(
    facetrain: Facetrain, healthy: FakeAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    docker(tmp_path, client="29.1.0", architecture="amd64", buildx="exit 1")
    check = checks(facetrain)["docker"]
    assert check["status"] == "warn"
    assert "cannot build with BuildKit: install its plugin buildx" in check["detail"]


def test_a_docker_of_another_kind_of_processor_can_build_where_it_emulates(
    facetrain: Facetrain, healthy: FakeAws, tmp_path: Path
) -> None:
    docker(tmp_path, client="29.1.0", architecture="arm64", buildx="echo Platforms: linux/arm64, linux/amd64")
    check = checks(facetrain)["docker"]
    assert check["status"] == "ok"
    assert "can build the image; Docker's engine is arm64: the build for amd64 is emulated" in check["detail"]


@pytest.mark.parametrize(("pushed", "status"), [(True, "ok"), (False, "skipped")])
def test_on_this_machine_an_image_is_there_only_where_jobs_are_containers(
    facetrain: Facetrain, healthy: FakeAws, pushed: bool, status: str
) -> None:
    text = Platform.example("local").to_json()
    healthy.handlers["AmazonSSM.GetParameter"] = lambda body: {
        "Parameter": {"Name": body["Name"], "Value": text}
    }
    found = {"imageDetails": [{"imageTags": ["x"]}] if pushed else []}
    healthy.handlers["AmazonEC2ContainerRegistry.DescribeImages"] = lambda _: found
    assert checks(facetrain, "--stage", "local")["image"]["status"] == status
