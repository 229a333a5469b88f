"""Every stage synthesized once for the whole session: starting the CDK's own runtime takes most of the time."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.app import synth
from infra.settings import read

ROOT = Path(__file__).resolve().parents[2]
# Every setting that adds a resource or a permission.
FULL = {
    "subnets": "subnet-0a,subnet-0b",
    "security_groups": "sg-0a",
    "allowed_buckets": "shared-faces",
    "email": "team@example.com",
    "monthly_budget_usd": 500,
    "training_log_retention_days": 365,
    "tags": {"cost-centre": "vision"},
}


@dataclass(frozen=True)
class Resource:
    """One resource of a template. `stack`: the room, such as Launcher."""

    stack: str
    name: str
    kind: str
    body: Mapping[str, Any]

    @property
    def properties(self) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self.body.get("Properties", {})
        return properties

    def __str__(self) -> str:
        return f"{self.stack}/{self.name}"


@dataclass(frozen=True)
class Assembly:
    """What one synth wrote."""

    folder: Path
    stage: str

    @property
    def templates(self) -> Mapping[str, Mapping[str, Any]]:
        """By room: `Facetrain-dev-Launcher.template.json` is Launcher's."""
        prefix = f"Facetrain-{self.stage}-"
        paths = sorted(self.folder.glob("*.template.json"))
        return {p.name.removeprefix(prefix).partition(".")[0]: json.loads(p.read_text()) for p in paths}

    @property
    def resources(self) -> list[Resource]:
        return [
            Resource(room, name, body["Type"], body)
            for room, template in self.templates.items()
            for name, body in template["Resources"].items()
        ]

    def of_kind(self, kind: str) -> list[Resource]:
        found = [resource for resource in self.resources if resource.kind == kind]
        assert found, f"{self.stage} has no {kind}"
        return found

    def named(self, kind: str, prefix: str) -> Resource:
        """The one resource of a kind whose logical id begins so."""
        (found,) = (resource for resource in self.of_kind(kind) if resource.name.startswith(prefix))
        return found

    def statements(self, room: str) -> dict[str, Mapping[str, Any]]:
        """The statements of the room's role, by Sid."""
        (policy,) = (it for it in self.of_kind("AWS::IAM::Policy") if it.stack == room)
        return {it["Sid"]: it for it in policy.properties["PolicyDocument"]["Statement"]}

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())


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
def stage(request: pytest.FixtureRequest) -> Iterator[Assembly]:
    """Each of them in turn."""
    yield request.getfixturevalue(request.param)
