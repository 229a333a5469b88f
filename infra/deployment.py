"""One deployment: its stacks and what each needs of the others."""

from collections.abc import Iterable
from typing import Any

from aws_cdk import App, Tags

from infra import names
from infra.components.synthesizer import NamedRepositorySynthesizer, synthesizer
from infra.settings import Settings
from infra.stacks.budget import BudgetStack
from infra.stacks.image import ImageStack
from infra.stacks.job_logs import JobLogsStack
from infra.stacks.launcher import LauncherStack
from infra.stacks.observability import ObservabilityStack
from infra.stacks.registry import RegistryStack
from infra.stacks.storage import StorageStack
from infra.stacks.training import TrainingStack


class Deployment:
    """Registry → image; storage → training; then the launcher, which needs them and the topic."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app, self._settings = app, settings
        registry = RegistryStack(app, self._name("Registry"), **self._common())
        built = {algorithm: self._image(registry, algorithm) for algorithm in self._offered()}
        images = {algorithm: stack.uri for algorithm, stack in built.items()}
        storage = StorageStack(app, self._name("Storage"), **self._common())
        observability = ObservabilityStack(app, self._name("Observability"), **self._common())
        training = TrainingStack(
            app, self._name("Training"), **self._common(), storage=storage, images=images
        )
        launcher = LauncherStack(
            app,
            self._name("Launcher"),
            **self._common(),
            storage=storage,
            notifications=observability.notifications,
            training_role=training.role,
            images=images,
        )
        for stack in built.values():  # no job before its image is there
            launcher.add_stack_dependency(stack)
        self._add_what_one_machine_lacks()
        self._tag()

    def _name(self, room: str) -> str:
        return names.stack(self._settings.stage, room)

    def _common(self) -> dict[str, Any]:
        return {"settings": self._settings, "synthesizer": synthesizer(self._settings)}

    def _offered(self) -> Iterable[str]:
        """The algorithms whose jobs this deployment starts: where images are named, those and no others."""
        return self._settings.image_uri or names.IMAGE_ALGORITHMS

    def _image(self, registry: RegistryStack, algorithm: str) -> ImageStack:
        """A stack each, for a stack's images all go to one repository."""
        settings = self._settings
        own = synthesizer(settings)
        builds = not settings.local and not settings.image_uri
        if builds:
            named = names.repository(settings.stage, algorithm)
            own = NamedRepositorySynthesizer(repository=named, registry=registry)
        stack = ImageStack(
            self._app,
            self._name(f"Image-{algorithm}"),
            settings=settings,
            algorithm=algorithm,
            synthesizer=own,
        )
        if builds:
            stack.add_stack_dependency(registry)
        return stack

    def _add_what_one_machine_lacks(self) -> None:
        """Budgets, and custom resources whose functions need the real Lambda service."""
        settings = self._settings
        if settings.local:
            return
        own = {"synthesizer": synthesizer(settings)}
        if settings.monthly_budget_usd and settings.email:
            BudgetStack(
                self._app,
                self._name("Budget"),
                settings=settings,
                amount=settings.monthly_budget_usd,
                email=settings.email,
                **own,
            )
        if settings.training_log_retention_days:
            JobLogsStack(self._app, self._name("JobLogs"), days=settings.training_log_retention_days, **own)

    def _tag(self) -> None:
        tags = {"facetrain:stage": self._settings.stage, **self._settings.tags}
        for name, value in tags.items():
            Tags.of(self._app).add(name, value)
