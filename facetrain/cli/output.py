"""Data goes to stdout, everything said to a person to stderr."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from training.jobs.problems import ProblemsError

if TYPE_CHECKING:
    from rich.progress import Progress

FAILED, REFUSED = 1, 2
_PIPE_COLUMNS = 200  # a table that goes to a file or a program is not cut to a screen's width


def say(message: str) -> None:
    """A line for the person."""
    print(message, file=sys.stderr, flush=True)


def put(text: str) -> None:
    """A line of data."""
    print(text, flush=True)


def put_json(value: Any) -> None:
    put(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def fail(message: str, name: str = "facetrain") -> int:
    say(f"{name}: {message}")
    return FAILED


def refuse(error: ProblemsError) -> int:
    """The problems, one a line, `place: message`."""
    for problem in error.problems:
        say("\n".join(map(visible, str(problem).split("\n"))))
    return REFUSED


def visible(text: str) -> str:
    """Names come from archives and tables too: what a terminal would act on is written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def refusals(as_json: bool) -> Iterator[None]:
    """With `--json`, problems with the input are data as well: {"errors": [{"path", "message"}]}."""
    try:
        yield
    except ProblemsError as error:
        if as_json:
            put_json({"errors": [{"path": found.path, "message": found.message} for found in error.problems]})
        raise


def put_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout. Job names are never cut."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_PIPE_COLUMNS)
    console.print(table)


def put_fields(fields: Mapping[str, object]) -> None:
    """`name   value` lines on stdout; what is None or empty is left out."""
    shown = {name: value for name, value in fields.items() if value not in (None, "")}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        put(f"{name:<{width}}  {value}")


def progress(*, things: bool = False) -> "Progress":
    """A bar on stderr that counts bytes, or things; nothing where stderr is no terminal."""
    from rich import progress as bars
    from rich.console import Console

    console = Console(stderr=True)
    counted = (
        (bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
        if things
        else (bars.DownloadColumn(), bars.TransferSpeedColumn())
    )
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), *counted)
    return bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def duration(seconds: float | None) -> str:
    """`1 h 02 min`, `3 min 20 s`, `12 s`; empty where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def size(count: int) -> str:
    """`3.1 MB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
