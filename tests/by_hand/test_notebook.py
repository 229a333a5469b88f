"""The notebook is as it should be committed; that it works is tested on the cloud."""

import ast

from tests.by_hand import notebook


def test_nothing_that_a_run_leaves_is_committed() -> None:
    for cell in notebook.read().cells:
        if cell.cell_type == "code":
            assert cell.outputs == [], cell.id
            assert cell.execution_count is None, cell.id


def test_every_setting_is_in_the_cell_that_says_so() -> None:
    """Capital names elsewhere would be settings that a reader has to look for."""
    cells = [cell for cell in notebook.read().cells if cell.cell_type == "code"]
    settings, others = cells[0], cells[1:]
    assert "parameters" in settings.metadata.tags
    assert not [name for cell in others for name in _assigned(cell.source) if name.isupper()]


def _assigned(source: str) -> list[str]:
    """The names that a cell's own statements bind."""
    targets = [
        target for node in ast.parse(source).body if isinstance(node, ast.Assign) for target in node.targets
    ]
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
