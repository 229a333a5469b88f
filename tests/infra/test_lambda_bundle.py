"""The Lambda's code: small, the same every time, and the same program."""

import ast
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
    assert {it.name for it in folder.iterdir()} == {"launcher.py", "code.zip"}
    names = zipfile.ZipFile(folder / "code.zip").namelist()
    assert {name.rpartition("/")[0] for name in names} == {"launch_training", "training", "training/jobs"}
    assert all(name.endswith(".py") for name in names)


def test_every_module_of_the_launcher_is_in_it(folder: Path) -> None:
    names = zipfile.ZipFile(folder / "code.zip").namelist()
    assert set(names) >= {
        f"launch_training/{path.name}" for path in (bundle.ROOT / "lambda/launch_training").glob("*.py")
    }


def test_the_bundle_alone_holds_the_handler(folder: Path) -> None:
    """In a fresh process that knows no other folder of ours and no variable of the deployment."""
    module, _, name = bundle.HANDLER.rpartition(".")
    probe = f"import sys; sys.path.insert(0, sys.argv[1]); import {module}; assert callable({module}.{name})"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "FACETRAIN_"))}
    subprocess.run([sys.executable, "-I", "-c", probe, folder], cwd=folder, env=clean, check=True)


def test_less_indentation_changes_no_text_that_the_launcher_writes(folder: Path) -> None:
    """A literal over several lines would lose the spaces that its lines begin with."""
    archive = zipfile.ZipFile(folder / "code.zip")
    for name, source in bundle.modules(bundle.ENTRY).items():
        texts = {
            node.value for node in ast.walk(ast.parse(archive.read(name))) if isinstance(node, ast.Constant)
        }
        said = {
            node.value for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Constant)
        }
        assert texts <= said | {""}, name


def test_a_lean_module_is_the_same_program() -> None:
    source = '''
"""Doc."""
from dataclasses import dataclass
# A comment.
@dataclass
class Point:
    """Doc."""
    x: int
    def moved(self, by: int, *rest: int, scale: int = 2, **more: int) -> "Point":
        """Doc."""
        return Point((self.x + by) * scale)
class Marker(Exception):
    """Only a docstring."""
def nothing() -> None:
    """Only a docstring."""
result = Point(1).moved(2).x, nothing(), issubclass(Marker, Exception)
'''
    lean = bundle.lean(source)
    assert "Doc" not in lean
    assert "comment" not in lean
    assert "-> " not in lean
    ran: dict[str, object] = {"__name__": "lean"}
    exec(compile(ast.parse(lean), "lean", "exec"), ran)
    assert ran["result"] == (6, None, True)
