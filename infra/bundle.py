"""The Lambda's code: the launcher and what it imports of `training.jobs`. No Docker, no downloads.

    launcher.py        the function's entry
    modules.json.bz2   {"launch_training/….py": source, …, "training/jobs/….py": source}

A cold start fetches this before anything else, so it is small: what the handler does not import stays out,
docstrings, comments and annotations too, and the modules are compressed as one text. The same sources give
the same bytes, and so the same asset.
"""

import ast
import bz2
import json
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE_ROOTS = (ROOT / "lambda", ROOT)
ENTRY = "launch_training.handler"
HANDLER = "launcher.handle"
LAUNCHER = ROOT / "lambda" / "launcher.py"
MODULES = "modules.json.bz2"  # as the launcher names it


def write(folder: Path) -> None:
    """Fill the empty `folder` with what the function needs."""
    (folder / LAUNCHER.name).write_text(lean(LAUNCHER.read_text()))
    sources = {place: lean(source.read_text()) for place, source in sorted(modules(ENTRY).items())}
    (folder / MODULES).write_bytes(bz2.compress(json.dumps(sources, ensure_ascii=False).encode()))


def modules(entry: str) -> dict[str, Path]:
    """Everything of ours that `entry` imports, itself included: place in the bundle, and file."""
    found: dict[str, Path] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        parent = name.rpartition(".")[0]
        for place in _places(name):
            if place not in found:
                found[place] = _file(place)
                waiting += [parent, *_imports(ast.parse(found[place].read_text()))]
    return found


def _places(module: str) -> list[str]:
    """Where a module of ours lies in the bundle: nowhere where it is not ours, or no module."""
    path = module.replace(".", "/")
    return [place for place in (f"{path}.py", f"{path}/__init__.py") if path and _file(place).exists()]


def _file(place: str) -> Path:
    candidates = [root / place for root in SOURCE_ROOTS]
    return next((path for path in candidates if path.exists()), candidates[-1])


def _imports(tree: ast.Module) -> Iterator[str]:
    """Every name that may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def lean(source: str) -> str:
    """The same program without what only readers need."""
    text = ast.unparse(_without_types(_Lean().visit(ast.parse(source)))) + "\n"
    return _INDENT.sub(lambda found: " " * (len(found[0]) // 4), text)


_INDENT = re.compile(r"^( {4})+", re.MULTILINE)  # a space a level does
_FIELD = ast.Constant(0)
_FOR_TYPES = ("collections.abc", "types", "typing")


def _without_types(tree: ast.Module) -> ast.Module:
    """Without imports of names that only annotations used."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module in _FOR_TYPES:
            node.names = [alias for alias in node.names if alias.name in used]
    tree.body = [node for node in tree.body if not isinstance(node, ast.ImportFrom) or node.names]
    return tree


class _Lean(ast.NodeTransformer):
    """Comments are gone once parsed. A dataclass reads which names have an annotation, not which one."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        arguments = node.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            argument.annotation = None
        for rest in (arguments.vararg, arguments.kwarg):
            if rest:
                rest.annotation = None
        return self._without_docstring(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.annotation is _FIELD:
            self.generic_visit(node)
            return node
        if node.value is None:
            return None
        self.generic_visit(node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """What a knob means is said in the documentation; the launcher only checks it."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "Knob":
            kind, default, _doc, *rest = node.args
            node.args = [kind, default, ast.Constant(""), *rest]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign):
                statement.annotation = _FIELD
        return self._without_docstring(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_docstring(node)

    def _without_docstring(self, node: ast.FunctionDef | ast.ClassDef | ast.Module) -> ast.AST:
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node
