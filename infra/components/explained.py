"""Findings of cdk-nag that stay, each with its reason, written beside what it concerns."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsii
from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import IConstruct, IValidation


def explain(construct: IConstruct, reason: str, *findings: str) -> None:
    """Acknowledge AwsSolutions `findings` (`S1`, `IAM5[Resource::*]`) of `construct` and all below it."""
    Validations.of(construct).acknowledge(
        *(Acknowledgment(id=f"AwsSolutions::AwsSolutions-{finding}", reason=reason) for finding in findings)
    )


def explain_wildcards(policy: iam.Policy, reasons: Mapping[str, str]) -> None:
    """Give the reason for each wildcard of `policy`, by the Sid of its statement; one without stops synth."""
    policy.node.add_validation(_Wildcards(policy, reasons))


@jsii.implements(IValidation)
class _Wildcards:
    """Runs once references between stacks are settled: cdk-nag names a finding by its resolved resource."""

    def __init__(self, policy: iam.Policy, reasons: Mapping[str, str]) -> None:
        self._policy, self._reasons = policy, reasons

    def validate(self) -> list[str]:
        document = Stack.of(self._policy).resolve(self._policy.document)
        missing = []
        for sid, finding in _findings(document):
            if reason := self._reasons.get(sid):
                explain(self._policy, reason, f"IAM5[{finding}]")
            else:
                missing.append(f"{sid}: {finding} needs a reason: add one beside the policy, or narrow it")
        return missing


def _findings(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Sid and name of each finding, as cdk-nag's IAM5 makes them."""
    for statement in document["Statement"]:
        for kind in ("Action", "Resource"):
            values = statement[kind]
            for value in values if isinstance(values, list) else [values]:
                if "*" in (text := _flat(value)):
                    yield statement["Sid"], f"{kind}::{text}"


def _flat(value: Any) -> str:
    """A CloudFormation expression in one line, as cdk-nag writes it."""
    match value:
        case str():
            return value.replace("${", "<").replace("}", ">")
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(_flat, parts))
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{resource}.{attribute}>"
        case {"Ref": name}:
            return f"<{name}>"
    return json.dumps(value, separators=(",", ":"))
