"""The `facetrain` command: one module a group of commands, none of them deciding more than what to print."""

from facetrain.cli.entry import main

__all__ = ["main"]
