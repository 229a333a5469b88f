"""What a deployment offers a job: role, images, buckets, network, and defaults for what a manifest omits."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.jobs import contract
from training.jobs.algorithms import ALGORITHMS
from training.jobs.resources import Resources
from training.jobs.uri import S3Uri


@dataclass(frozen=True)
class Platform:
    """One deployment. The stacks write it as JSON to SSM and to the launcher's environment."""

    stage: str
    region: str
    account: str
    role_arn: str
    images: Mapping[str, str]  # algorithm -> immutable image URI
    inputs_bucket: str
    outputs_bucket: str
    job_prefix: str
    kms_key_arn: str | None = None
    allowed_buckets: tuple[str, ...] = ()  # besides the inputs bucket
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    network_isolation: bool = True
    topic_arn: str | None = None
    defaults: Resources = field(default_factory=Resources)
    tags: Mapping[str, str] = field(default_factory=dict)
    governance_required: tuple[str, ...] = ()  # keys that a manifest's governance must hold
    results: str | None = None  # s3://…/: where by hand all goes that the outputs bucket else holds

    @property
    def deletion_list(self) -> S3Uri:
        """Where it lies as soon as somebody is forgotten."""
        return S3Uri(self.inputs_bucket, contract.FORGOTTEN_KEY)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Platform":
        """Raises ValueError where `text` was not written by `to_json` of this version."""
        try:
            value: dict[str, Any] = json.loads(text)
            value["defaults"] = Resources(**value.get("defaults", {}))
            for name in ("allowed_buckets", "subnets", "security_groups", "governance_required"):
                value[name] = tuple(value.get(name, ()))
            return cls(**value)
        except (TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"the deployment's description cannot be read ({error}): deploy again") from None

    @classmethod
    def example(cls, stage: str = "example") -> "Platform":
        """Made-up values of the right form, for a dry run where there is no deployment to read."""
        account, region = "0" * 12, "us-east-1"
        return cls(
            stage=stage,
            region=region,
            account=account,
            role_arn=f"arn:aws:iam::{account}:role/facetrain-{stage}-training",
            images={
                name: f"{account}.dkr.ecr.{region}.amazonaws.com/facetrain-{stage}/{name}:{'0' * 64}"
                for name in ALGORITHMS
            },
            inputs_bucket=f"facetrain-{stage}-inputs",
            outputs_bucket=f"facetrain-{stage}-outputs",
            job_prefix=contract.job_prefix(stage),
            kms_key_arn=f"arn:aws:kms:{region}:{account}:key/00000000-0000-0000-0000-000000000000",
        )
