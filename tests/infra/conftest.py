"""Every stage synthesized once for the whole session: starting the CDK takes most of the time."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from infra.app import synth
from infra.settings import read
from tests.infra.assembly import ROOT, Assembly

# Every setting that adds a resource, a permission, a duty or an end.
FULL = {
    "subnets": "subnet-0a,subnet-0b",
    "security_groups": "sg-0a",
    "allowed_buckets": "shared-faces",
    "email": "team@example.com",
    "monthly_budget_usd": 500,
    "training_log_retention_days": 365,
    "governance_required": ["legal_basis", "expires_at"],
    "inputs_days": 365,
    "outputs_days": 730,
    "tags": {"cost-centre": "vision"},
}


Synthesize = Callable[..., Assembly]


@pytest.fixture(scope="session")
def context() -> Mapping[str, Any]:
    """cdk.json's."""
    value: Mapping[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return value


@pytest.fixture(scope="session")
def synthesize(context: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    def run(stage: str, **overrides: Any) -> Assembly:
        chosen = {**context, "stage": stage, **overrides}
        folder = tmp_path_factory.mktemp(stage)
        synth(read(chosen), context=chosen, outdir=str(folder))
        return Assembly(folder, stage)

    return run


@pytest.fixture(scope="session")
def dev(synthesize: Synthesize) -> Assembly:
    return synthesize("dev")


@pytest.fixture(scope="session")
def prod(synthesize: Synthesize) -> Assembly:
    return synthesize("prod")


@pytest.fixture(scope="session")
def full(synthesize: Synthesize) -> Assembly:
    """prod with every setting that adds something."""
    return synthesize("prod", **FULL)


@pytest.fixture(scope="session")
def local(synthesize: Synthesize) -> Assembly:
    return synthesize("local")


@pytest.fixture(scope="session", params=["dev", "prod", "full", "local"])
def stage(request: pytest.FixtureRequest) -> Assembly:
    """Each of them in turn."""
    assembly: Assembly = request.getfixturevalue(request.param)
    return assembly
