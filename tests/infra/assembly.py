"""A synthesized cloud assembly, as tests read it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


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


def as_list(value: Any) -> list[Any]:
    """Policies write one thing or a list of them."""
    return value if isinstance(value, list) else [value]
