"""training-job.ipynb, executed as a reader would, from its first cell to its last."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "training-job.ipynb"
SECONDS = 240  # the longest that one cell may take


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def execute(settings: Mapping[str, Any], seconds: int = SECONDS) -> dict[str, str]:
    """What each cell printed, by the cell's id. `settings` stand in a cell of their own after the first."""
    notebook = read()
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    own = nbformat.v4.new_code_cell("\n".join(lines))  # type: ignore[no-untyped-call]
    notebook.cells.insert(_parameters(notebook) + 1, own)
    client = NotebookClient(
        notebook, timeout=seconds, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    )
    client.execute()
    return {cell.id: _printed(cell) for cell in notebook.cells if cell.cell_type == "code"}


def _parameters(notebook: Any) -> int:
    """Where the settings are: the cell that is tagged so, as for papermill."""
    (index,) = [
        index for index, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ())
    ]
    return int(index)


def _printed(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")
