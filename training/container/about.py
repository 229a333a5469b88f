"""What a job is told of itself: its name, its dataset, and why it may use these faces."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from training.jobs import contract

GOVERNANCE = ("legal_basis", "source", "purpose", "expires_at")


@dataclass(frozen=True)
class About:
    """All of it may be empty: a container that is run by hand is told nothing."""

    job: str = ""
    dataset: str = ""
    governance: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "About":
        """From the variables that the service and `training.jobs.request` set."""
        told = {
            name: environment.get(contract.ABOUT_PREFIX + name.upper(), "")
            for name in ("dataset", *GOVERNANCE)
        }
        dataset = told.pop("dataset")
        governance = {name: value for name, value in told.items() if value}
        return cls(environment.get(contract.JOB_NAME_VARIABLE, ""), dataset, governance)

    @property
    def title(self) -> str:
        return self.dataset or self.job or "Face recognition model"
