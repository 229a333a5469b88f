"""The Lambda's code: the launcher and `training.jobs`, copied beside each other. No Docker, no downloads.

What is copied decides the asset's hash, so it holds sources only: a `__pycache__` or an editor's file beside
them changes nothing.
"""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HANDLER = "launch_training.handler.handle"
# Where each source lies, and where in the bundle it goes.
SOURCES = {
    "lambda/launch_training": "launch_training",
    "training/jobs": "training/jobs",
}
SINGLE_FILES = {"training/__init__.py": "training/__init__.py"}


def write(folder: Path) -> None:
    """Fill the empty `folder` with what the function needs."""
    for source, target in SOURCES.items():
        for path in sorted((ROOT / source).rglob("*.py")):
            _copy(path, folder / target / path.relative_to(ROOT / source))
    for source, target in SINGLE_FILES.items():
        _copy(ROOT / source, folder / target)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)
