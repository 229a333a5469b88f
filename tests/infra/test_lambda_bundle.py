"""The Lambda's code: small, the same every time, and the same program."""

import ast
import bz2
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra import bundle
from tests.infra.assembly import Assembly

LIMIT = 20 * 1024  # bytes, zipped as the CDK's command line does


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written = tmp_path / "bundle"
    written.mkdir()
    bundle.write(written)
    return written


def zipped_size(folder: Path, into: Path) -> int:
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return into.stat().st_size


def bundled(folder: Path) -> dict[str, str]:
    """The sources by their places."""
    sources: dict[str, str] = json.loads(bz2.decompress((folder / bundle.MODULES).read_bytes()))
    return sources


def test_the_zip_is_small(folder: Path, tmp_path: Path) -> None:
    assert zipped_size(folder, tmp_path / "function.zip") <= LIMIT


def test_what_is_bundled_twice_is_the_same_to_the_byte(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    bundle.write(again)
    assert {it.name: it.read_bytes() for it in again.iterdir()} == {
        it.name: it.read_bytes() for it in folder.iterdir()
    }


def test_the_asset_is_the_same_in_every_stage(dev: Assembly, local: Assembly) -> None:
    assert function_code(dev) == function_code(local)


def function_code(assembly: Assembly) -> str:
    files = assembly.json(f"Facetrain-{assembly.stage}-Launcher.assets.json")["files"]
    (code,) = (name for name, it in files.items() if it["source"]["packaging"] == "zip")
    return str(code)


def test_only_sources_of_the_launcher_and_of_the_contract_are_in_it(folder: Path) -> None:
    assert {it.name for it in folder.iterdir()} == {"launcher.py", bundle.MODULES}
    names = bundled(folder)
    assert {name.rpartition("/")[0] for name in names} == {"launch_training", "training", "training/jobs"}
    assert all(name.endswith(".py") for name in names)


def test_every_module_of_the_launcher_is_in_it(folder: Path) -> None:
    assert set(bundled(folder)) >= {
        f"launch_training/{path.name}" for path in (bundle.ROOT / "lambda/launch_training").glob("*.py")
    }


def test_the_bundle_alone_holds_the_handler(folder: Path) -> None:
    """In a fresh process that knows no other folder of ours and no variable of the deployment."""
    module, _, name = bundle.HANDLER.rpartition(".")
    in_a_fresh_process(folder, f"import {module}; assert callable({module}.{name})").check_returncode()


def test_a_traceback_names_file_and_function_and_shows_the_line(folder: Path) -> None:
    program = "import launcher, traceback; from training.jobs.uri import S3Uri\n"
    program += "try: S3Uri.parse('no')\nexcept ValueError: traceback.print_exc()"
    place, line = in_a_fresh_process(folder, program).stderr.splitlines()[-3:-1]
    assert f'"{folder}/training/jobs/uri.py", line ' in place
    assert place.endswith("in parse")
    assert line.strip().startswith("raise ValueError(")


def in_a_fresh_process(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "FACETRAIN_"))}
    command = [
        sys.executable,
        "-I",
        "-c",
        f"import sys; sys.path.insert(0, sys.argv[1]); {program}",
        str(folder),
    ]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)


def test_less_indentation_changes_no_text_that_the_launcher_writes(folder: Path) -> None:
    """A literal over several lines would lose the spaces that its lines begin with."""
    sources = bundled(folder)
    for name, source in bundle.modules(bundle.ENTRY).items():
        texts = {node.value for node in ast.walk(ast.parse(sources[name])) if isinstance(node, ast.Constant)}
        said = {
            node.value for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Constant)
        }
        assert texts <= said | {"", 0}, name


def test_a_lean_module_is_the_same_program() -> None:
    source = '''
"""Doc."""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
# A comment.
@dataclass
class Point:
    """Doc."""
    x: int
    names: Sequence[str] = field(default_factory=tuple)
    def moved(self, by: int, *rest: int, scale: int = 2, **more: int) -> "Point":
        """Doc."""
        result: Mapping[str, int] = {"x": (self.x + by) * scale}
        return Point(**result)
class Marker(Exception):
    """Only a docstring."""
def nothing() -> None:
    """Only a docstring."""
limit: int = 3
result = Point(1).moved(2), nothing(), issubclass(Marker, Exception), isinstance({}, Mapping)
'''
    lean = bundle.lean(source)
    assert "Doc" not in lean
    assert "comment" not in lean
    assert "-> " not in lean
    assert ": int" not in lean
    assert "Sequence" not in lean
    ran: dict[str, object] = {"__name__": "lean"}
    exec(compile(ast.parse(lean), "lean", "exec"), ran)
    assert repr(ran["result"]) == "(Point(x=6, names=()), None, True, True)"
