"""What is wrong with a user's input: every problem at once, each with its place and the nearest name."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

LISTED = 30  # known names at the most: a folder may hold thousands


@dataclass(frozen=True)
class Problem:
    """One thing to mend: `path` is the JSON path (`channels.images`; `$` for the whole document)."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class ProblemsError(ValueError):
    """Raised with every problem found, never with only the first. `problems` is in document order."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that `word` was most likely meant to be, or None where none is near."""
    by_lower = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean "x"?)`; ` (known: a, b)` where nothing is near; empty where nothing is known."""
    names = list(known)
    if guess := nearest(word, names):
        return f' (did you mean "{guess}"?)'
    if not names:
        return ""
    more = ", …" if len(names) > LISTED else ""
    return f" (known: {', '.join(names[:LISTED])}{more})"


def shown(value: Any) -> str:
    """A wrong value as its document writes it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"
