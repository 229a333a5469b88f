"""The CDK app. `cdk` runs it with cdk.json's context; `-c stage=` chooses what is deployed.

npx cdk deploy --all                    the stage dev
npx cdk deploy --all -c stage=prod
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.settings import Settings, SettingsError, read

if TYPE_CHECKING:
    from aws_cdk.cx_api import CloudAssembly


def main() -> None:
    try:
        settings = read(_context(os.environ))
    except SettingsError as error:
        sys.exit("\n".join(f"{type(error).__name__}: {problem}" for problem in error.problems))
    synth(settings)


def _context(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the CDK's command line hands over: cdk.json's context with `-c` laid over it."""
    context: dict[str, Any] = json.loads(environment.get("CDK_CONTEXT_JSON", "{}"))
    overflow = environment.get("CONTEXT_OVERFLOW_LOCATION_ENV")  # where it is too long for an environment
    return context | json.loads(Path(overflow).read_text()) if overflow else context


def synth(
    settings: Settings, *, context: Mapping[str, Any] | None = None, outdir: str | None = None
) -> "CloudAssembly":
    """Every stack of the deployment as a cloud assembly; cdk-nag's findings stop it.

    context, outdir: what the command line hands over in the environment, where nobody does.
    """
    # Seconds, which a mistake in the settings need not wait for.
    from aws_cdk import App, Validations  # noqa: PLC0415
    from cdk_nag import AwsSolutionsChecks  # noqa: PLC0415

    from infra.deployment import Deployment  # noqa: PLC0415

    # One machine gets the same templates, and its user waits for them: they are checked for the others.
    app = App(context=context, outdir=outdir, builtin_cloud_formation_validation=not settings.local)
    Deployment(app, settings)
    if not settings.local:
        Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app.synth()


if __name__ == "__main__":
    main()
