"""Policy statements that more than one role needs, and the conditions they share."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

SAGEMAKER = "sagemaker.amazonaws.com"


def allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: Mapping[str, Mapping[str, Any]] | None = None,
) -> iam.PolicyStatement:
    """An Allow. Every statement has a name, so that a refusal can be looked up."""
    return iam.PolicyStatement(
        sid=sid, actions=list(actions), resources=list(resources), conditions=dict(conditions or {})
    )


def list_prefixes(sid: str, bucket: s3.IBucket, *prefixes: str) -> iam.PolicyStatement:
    """ListBucket, and what lies below `prefixes` only."""
    below = [f"{prefix}*" for prefix in prefixes]
    return allow(sid, ["s3:ListBucket"], [bucket.bucket_arn], {"StringLike": {"s3:prefix": below}})


def use_key_through(sid: str, key: kms.IKey, service: str, *actions: str) -> iam.PolicyStatement:
    """Use of `key` by way of `service` (`s3`) in this region, and never directly."""
    via = f"{service}.{Stack.of(key).region}.amazonaws.com"
    return allow(sid, actions, [key.key_arn], {"StringEquals": {"kms:ViaService": via}})


def put_metrics(sid: str, *namespaces: str) -> iam.PolicyStatement:
    """PutMetricData knows no resources; the namespace is what can be limited.

    Every such request has a namespace, so IfExists admits no more; one machine's IAM does not look at it.
    """
    condition = {"StringEqualsIfExists": {"cloudwatch:namespace": list(namespaces)}}
    return allow(sid, ["cloudwatch:PutMetricData"], ["*"], condition)


def bucket_arns(stack: Stack, buckets: Sequence[str]) -> list[str]:
    """ARNs of buckets that only their names are known of."""
    return [f"arn:{stack.partition}:s3:::{name}" for name in buckets]


def training_job_arn(stack: Stack, job_prefix: str) -> str:
    """Every training job of the deployment. SageMaker writes names in ARNs in lower case, as ours are."""
    return stack.format_arn(service="sagemaker", resource="training-job", resource_name=f"{job_prefix}-*")
