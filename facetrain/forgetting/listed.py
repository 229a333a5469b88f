"""Tables that name a person or their pictures, in all versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from facetrain.forgetting import tables
from facetrain.forgetting.channels import View, view_of
from facetrain.forgetting.places import Place, body, lines, with_content
from facetrain.forgetting.tables import Layout, Named
from facetrain.forgetting.versions import Version
from training.jobs.forgotten import normal


def layout(s3: Any, version: Version) -> Layout | None:
    """How one version of a table is to be read."""
    stream = body(s3, version)
    first = [line for line, _ in zip(lines(stream), range(2), strict=False)]
    stream.close()
    return tables.layout_of(version.key, first)


def named(key: str, names: Mapping[str, frozenset[str]], among: Sequence[View], identity: str) -> Named:
    """How this table may name the person. names: of the person's pictures in each view, by its prefix.

    A table speaks of the views that it labels, or of the one that it lies in; at a dataset's top, of all.
    """
    within = view_of(key, list(among))
    theirs = [view for view in among if key in view.labels]
    if not theirs and within is not None:
        whole = within.prefix.count("/") <= 2  # inputs/<dataset>/
        theirs = [view for view in among if view.dataset == within.dataset] if whole else [within]
    files = frozenset[str]().union(*(names.get(view.prefix, frozenset()) for view in theirs))
    return Named(identity, files, folders=not any(view.labels for view in theirs))


def search(
    s3: Any, versions: Sequence[Version], who: Named, kind: str, dataset: str
) -> tuple[Place | None, str]:
    """The table, where it names the person; else perhaps what is to be said of it."""
    key, chosen, counts = versions[0].key, [], []
    for version in with_content(versions):
        how = layout(s3, version)
        if how is None:
            if any(normal(who.identity) in normal(line) for line in lines(body(s3, version))):
                return None, f"{key} holds that name in a layout that is not known: look at it yourself"
            continue
        removed, total = tables.count(who, how, lines(body(s3, version)))
        if removed:
            chosen.append(version)
            counts.append((removed, total))
    if not chosen:
        return None, ""
    removed, total = counts[0]
    rest = chosen[0].latest and total > removed
    detail = (who, removed, total)
    return Place(kind, dataset, tuple(versions), tuple(chosen), removed, rest, detail), ""
