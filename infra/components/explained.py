"""Findings of cdk-nag that stay, each with its reason, written beside what it concerns."""

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def explain(construct: IConstruct, reason: str, *findings: str) -> None:
    """Acknowledge AwsSolutions `findings` (`IAM5[Resource::*]`) of `construct` and all below it."""
    Validations.of(construct).acknowledge(
        *(Acknowledgment(id=f"AwsSolutions-{finding}", reason=reason) for finding in findings)
    )
