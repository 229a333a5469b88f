"""Who may import whom: one room a folder, and the edges between them."""

import ast
import sys
from pathlib import Path
from typing import TypeGuard

import pytest

from training.jobs.algorithms import ALGORITHMS

ROOT = Path(__file__).parents[1]
ROOMS = ("infra", "lambda", "training", "facetrain", "bench")
# What each room may import of the others. Everyone may import training.jobs; who reads data, the formats.
MAY_IMPORT = {
    "infra": {"infra", "training.jobs"},
    "lambda": {"launch_training", "training.jobs"},
    "training/jobs": {"training.jobs"},
    "training/formats": {"training.formats", "training.jobs"},
    "training/container": {"training.container", "training.formats", "training.jobs"},
    **{
        f"training/{name}": {f"training.{name}", "training.container", "training.formats", "training.jobs"}
        for name in ALGORITHMS
    },
    "facetrain": {"facetrain", "training.formats", "training.jobs"},
}
OURS = {"infra", "launch_training", "training", "facetrain", "bench", "tests"}


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path, *, at_once: bool = False) -> set[str]:
    """at_once: only those that importing the file brings along, not those of its functions."""
    tree, found = ast.parse(path.read_text()), set()
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_below(name: str, allowed: set[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in allowed)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_that_it_may(room: str) -> None:
    for path in sources(room):
        ours = {name for name in imports(path) if name.split(".")[0] in OURS}
        stray = {name for name in ours if not is_below(name, MAY_IMPORT[room])}
        assert not stray, f"{path.relative_to(ROOT)} imports {stray}"


def test_what_a_job_is_needs_the_standard_library_alone() -> None:
    for path in sources("training/jobs"):
        outside = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"training"}
        assert not outside, f"{path.relative_to(ROOT)} imports {outside}"


@pytest.mark.parametrize("room", ["training/formats", "training/container"])
def test_files_and_what_every_image_shares_need_no_torch_to_be_imported(room: str) -> None:
    for path in sources(room):
        inside = {name.split(".")[0] for name in imports(path, at_once=True)} & {
            "torch",
            "onnx",
            "onnxruntime",
        }
        assert not inside, f"{path.relative_to(ROOT)} imports {inside}"


def test_the_launcher_needs_nothing_but_boto3() -> None:
    allowed = {"boto3", "botocore", "training", "launch_training"} | sys.stdlib_module_names
    for path in sources("lambda"):
        outside = {name.split(".")[0] for name in imports(path)} - allowed
        assert not outside, f"{path.relative_to(ROOT)} imports {outside}"


def test_the_container_holds_no_cdk_and_no_aws_client() -> None:
    for path in sources("training"):
        inside = {name.split(".")[0] for name in imports(path)} & {
            "aws_cdk",
            "constructs",
            "boto3",
            "sagemaker",
        }
        assert not inside, f"{path.relative_to(ROOT)} imports {inside}"


def test_an_algorithm_is_known_by_its_folder_and_one_entry() -> None:
    """The first is the default, which demo and estimates are about; no other is called by its name."""
    first, *others = ALGORITHMS
    for room in ("infra", "lambda", "facetrain", "training/container", "training/formats", "training/jobs"):
        for path in set(sources(room)) - {ROOT / "training/jobs/algorithms.py"}:
            constants = {node.value for node in ast.walk(ast.parse(path.read_text())) if is_text(node)}
            assert not constants & set(others), f"{path.relative_to(ROOT)} knows {constants & set(others)}"
    assert first == "arcface"


def is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_what_is_under_agpl_is_in_one_algorithm_alone() -> None:
    for room in ROOMS:
        for path in sources(room):
            if (ROOT / "training/yolov5") not in path.parents:
                inside = {name.split(".")[0] for name in imports(path)} & {"ultralytics"}
                assert not inside, f"{path.relative_to(ROOT)} imports {inside}"


def test_lambda_is_a_source_root_and_no_package() -> None:
    assert not (ROOT / "lambda" / "__init__.py").exists()


IMPURE_CALLS = {
    "os.getenv",
    "time.time",
    "datetime.now",
    "datetime.datetime.now",
    "Path.cwd",
    "Path.home",
    "open",
}


@pytest.mark.parametrize("room", ROOMS)
def test_no_import_reads_the_environment_the_clock_or_the_disk(room: str) -> None:
    for path in sources(room):
        for node in module_level(ast.parse(path.read_text())):
            text = ast.unparse(node)
            assert "os.environ" not in text, f"{path.relative_to(ROOT)}:{node.lineno} reads the environment"
            calls = {ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
            assert not calls & IMPURE_CALLS, (
                f"{path.relative_to(ROOT)}:{node.lineno} calls {calls & IMPURE_CALLS}"
            )


def module_level(tree: ast.Module) -> list[ast.stmt]:
    """Statements that run at import: not the bodies of functions, nor what runs only as a program."""
    skipped = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    return [
        node for node in tree.body if not isinstance(node, skipped) and "__name__" not in ast.unparse(node)
    ]
