"""Every object that holds a person's pictures or names them, in all its versions. Nothing is changed here."""

from pathlib import Path
from typing import Any

from facetrain.forgetting import listed, scan, tables
from facetrain.forgetting.channels import Survey, View, survey, view_of, views
from facetrain.forgetting.copies import copies
from facetrain.forgetting.loose import pictures
from facetrain.forgetting.packed import Search
from facetrain.forgetting.places import KINDS, LABELS, PICTURE, TABLE, Found, Note
from training.formats import records, shards
from training.formats.files import suffix_of
from training.formats.names import NAMES_TABLE
from training.jobs import contract
from training.jobs.forgotten import EVERY_DATASET, normal
from training.jobs.platform import Platform


def find(s3: Any, platform: Platform, identity: str, *, dataset: str, aside: Path, note: Note) -> Found:
    """Where the person is, in the order in which to go by it.

    dataset: one, or EVERY_DATASET; aside: an empty folder; note: hears what is being looked at. Raises
    ClientError where something may not be listed or read, for then nobody knows what is there.
    """
    bucket, into = platform.inputs_bucket, Found()
    note("looking through the datasets")
    found = survey(s3, bucket)
    everything, elsewhere = views(s3, bucket, found)
    scope = [view for view in everything if dataset in (EVERY_DATASET, view.dataset, *view.readers)]
    names: dict[str, frozenset[str]] = {}
    for view in scope:
        loose = pictures(s3, bucket, view, found, identity)
        names[view.prefix] = loose.names
        known = {place.key for place in into.places}  # a table may be that of two views
        into.places += [place for place in loose.places if place.key not in known]
        into.notes += loose.notes
    into.files = frozenset[str]().union(*names.values())
    gone = {place.key for place in into.of(PICTURE)}
    note("looking through the archives")
    for view, keys in _by_view(found, everything, gone, (shards.SUFFIX, records.SUFFIX)):
        if view in scope:
            Search(s3, view, found, identity, names[view.prefix], aside, into).run(keys)
    note("looking through the tables")
    last = frozenset(key for view in everything for key in view.labels)
    for view, keys in _by_view(found, everything, gone, tables.SUFFIXES):
        for key in keys:
            if view not in scope and not any(key in labelled.labels for labelled in scope):
                continue
            if scan.is_classes(s3, found.objects[key]):
                continue  # of a model's weights, whose centres go with its lines: `outputs` sees to them
            who = listed.named(key, names, scope, identity)
            kind = LABELS if key in last or key.endswith(f"/{NAMES_TABLE}") else TABLE
            place, said = listed.search(s3, found.objects[key], who, kind, view.dataset)
            into.places += [place] if place else []
            into.notes += [said] if said else []
    note("looking for copies")
    same = copies(s3, (bucket, platform.outputs_bucket), into)
    if dataset == EVERY_DATASET:
        into.places += same
    else:
        into.notes += [f"{place.key} has the same bytes as one of the pictures: it stays" for place in same]
    datasets = into.datasets or [view.dataset for view in scope]
    into.notes += _unseen(found, datasets, elsewhere)
    into.notes += _odd(found, scope, identity)
    into.places.sort(key=lambda place: KINDS.index(place.kind))
    return into


def _by_view(
    found: Survey, among: list[View], gone: set[str], suffixes: tuple[str, ...]
) -> list[tuple[View, list[str]]]:
    """The keys with these suffixes, by the view that they are read in; without what goes as a whole."""
    by_view: dict[str, tuple[View, list[str]]] = {}
    for key in found.objects:
        if suffix_of(key) in suffixes and key not in gone and (view := view_of(key, among)) is not None:
            by_view.setdefault(view.prefix, (view, []))[1].append(key)
    return list(by_view.values())


def _unseen(found: Survey, datasets: list[str], elsewhere: list[str]) -> list[str]:
    """What nobody can look into."""
    folders = tuple(f"{contract.INPUTS_PREFIX}{dataset}/" for dataset in datasets)
    bins, hidden = ([key for key in keys if key.startswith(folders)] for keys in (found.bins, found.hidden))
    notes = [f"{uri} is in another bucket, and is not looked at" for uri in elsewhere]
    if bins:
        notes.append(
            f"{len(bins)} .bin files name nobody (such as {bins[0]}): if the person is in one, make it anew"
        )
    if hidden:
        notes.append(
            f"{len(hidden)} hidden files are not looked into "
            f"(such as {hidden[0]}): no job reads them, so delete them"
        )
    return notes


def _odd(found: Survey, scope: list[View], identity: str) -> list[str]:
    """What nobody expects, in the datasets that were asked for: it stays."""
    folders = tuple(sorted({f"{contract.INPUTS_PREFIX}{view.dataset}/" for view in scope}))
    notes = [
        f"{folder} is a dataset of that name: it stays"
        for folder in folders
        if normal(folder.rstrip("/").rpartition("/")[2]) == normal(identity)
    ]
    if archives := [key for key in found.archives if key.startswith(folders)]:
        notes.append(
            f"archives are not looked into (such as {archives[0]}; {len(archives)} in all): no job reads "
            "them, so delete them"
        )
    return notes
