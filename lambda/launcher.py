"""The function's entry: imports the launcher out of `modules.json.bz2`, which `infra.bundle` puts beside it.

One text of all modules is an eighth smaller than the CDK's zip of them, and a cold start fetches it first.
"""

import bz2
import json
import sys
from collections.abc import Mapping
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path


class Bundled(MetaPathFinder, ExecutionLoader):
    """Modules by their places below `folder`, as a traceback names them; it shows their lines, too."""

    def __init__(self, folder: Path, sources: Mapping[str, str]) -> None:
        self._folder = folder
        self._sources = sources

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if self._place(fullname) in self._sources else None

    def is_package(self, fullname: str) -> bool:
        return self._place(fullname).endswith("/__init__.py")

    def get_filename(self, fullname: str) -> str:
        return str(self._folder / self._place(fullname))

    def get_source(self, fullname: str) -> str:
        return self._sources[self._place(fullname)]

    def _place(self, module: str) -> str:
        path = module.replace(".", "/")
        package = f"{path}/__init__.py"
        return package if package in self._sources else f"{path}.py"


_here = Path(__file__).parent
_sources = json.loads(bz2.decompress((_here / "modules.json.bz2").read_bytes()))
sys.meta_path.insert(0, Bundled(_here, _sources))

from launch_training.handler import handle  # noqa: E402 - only now is it found

__all__ = ["handle"]
