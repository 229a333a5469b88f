"""cdk-nag, CloudFormation's own rules and cfn-lint have nothing to say that is not explained."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack, Validations
from aws_cdk import aws_iam as iam
from cdk_nag import AwsSolutionsChecks

from infra.components.explained import explain_wildcards
from tests.infra.assembly import ROOT, Assembly


def reports(assembly: Assembly) -> dict[str, Any]:
    return {it["pluginName"]: it for it in assembly.json("validation-report.json")["pluginReports"]}


@pytest.fixture(params=["dev", "prod", "full"])
def deployed(request: pytest.FixtureRequest) -> Assembly:
    """What goes to a real account."""
    assembly: Assembly = request.getfixturevalue(request.param)
    return assembly


def test_cdk_nag_finds_nothing_that_is_not_explained(deployed: Assembly) -> None:
    assert [it["ruleName"] for it in reports(deployed)["AwsSolutions"]["violations"]] == []


def test_each_finding_that_stays_gives_its_reason(deployed: Assembly) -> None:
    explained = reports(deployed)["AwsSolutions"]["suppressedViolations"]
    assert {it["ruleName"].partition("[")[0] for it in explained} >= {"AwsSolutions-IAM5"}
    for finding in explained:
        assert len(finding["reason"]) > 20, finding["ruleName"]


def test_the_templates_are_sound_to_cfn_lint(dev: Assembly, prod: Assembly, full: Assembly) -> None:
    templates = [str(path) for it in (dev, prod, full) for path in it.folder.glob("*.template.json")]
    linter = Path(sys.executable).with_name("cfn-lint")
    ended = subprocess.run([linter, *templates], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.stdout == ""
    assert ended.returncode == 0


def policy_in(app: App, sid: str) -> iam.Policy:
    stack = Stack(app, "Stack")
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    statement = iam.PolicyStatement(sid=sid, actions=["s3:GetObject"], resources=["arn:aws:s3:::b/*"])
    return iam.Policy(stack, "Policy", statements=[statement], roles=[role])


def test_a_wildcard_without_a_reason_stops_synth() -> None:
    app = App()
    explain_wildcards(policy_in(app, "Read"), {"Write": "another statement's"})
    with pytest.raises(RuntimeError, match=r"Read: Resource::arn:aws:s3:::b/\* needs a reason"):
        app.synth()


def test_a_wildcard_with_its_reason_satisfies_cdk_nag() -> None:
    app = App(builtin_cloud_formation_validation=False)
    explain_wildcards(policy_in(app, "Read"), {"Read": "this statement's"})
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
