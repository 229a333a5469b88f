"""`--governance key=value`: why faces may be used, as it is typed."""

from collections.abc import Iterable

from facetrain.errors import InputError
from training.jobs.governance import EXAMPLES
from training.jobs.problems import Problem, did_you_mean


def block(texts: Iterable[str]) -> dict[str, str]:
    """The governance block that `key=value` texts make. Raises InputError with all that are wrong.

    Whether the values will do, and whether some are missing, is for the manifest's own check.
    """
    found: dict[str, str] = {}
    problems = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            problems.append(Problem(f"--governance {text}", "is not of the form key=value"))
        elif name not in EXAMPLES:
            problems.append(Problem(f"--governance {text}", f"no such key{did_you_mean(name, EXAMPLES)}"))
        else:
            found[name] = value
    if problems:
        raise InputError(problems)
    return found
