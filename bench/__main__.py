"""`python -m bench` runs every benchmark, `python -m bench NAME ...` some; `--list` names them.

A benchmark is a module of this package with a docstring and a `main() -> None` that prints its figures.
"""

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path


def names() -> list[str]:
    """Every benchmark, in the order in which they run."""
    return sorted(
        module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name[0] != "_"
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run the benchmarks.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}; all where none is given"
    )
    parser.add_argument("--list", action="store_true", help="print what there is and stop")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(names())):
        parser.error(f"no such benchmark: {', '.join(unknown)} (there are: {', '.join(names())})")
    for name in options.names or names():
        module = importlib.import_module(f"bench.{name}")
        summary = (module.__doc__ or "").splitlines()[0]
        print(f"{name}: {summary}", flush=True)
        if not options.list:
            module.main()
            print(flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
