"""`dataset check`."""

from pathlib import Path
from typing import Annotated

import typer


def check(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folders, shards or .rec files.", show_default=False),
    ],
) -> None:
    """Say what a dataset holds, and what of it would harm training."""
    from facetrain.datasets.check.report import check as run  # noqa: PLC0415

    run(directory)
