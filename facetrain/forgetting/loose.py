"""Pictures that are files of their own: a person's by their folder, or by the newest table to name them."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from facetrain.forgetting import tables
from facetrain.forgetting.channels import Survey, View
from facetrain.forgetting.places import PICTURE, Place, body, lines, with_content
from facetrain.forgetting.versions import Version, by_key, of_key
from training.formats.words import many
from training.jobs.forgotten import normal


@dataclass(frozen=True)
class Loose:
    """A view's pictures of the person. names: as tables call them, relative to the view, those gone too."""

    places: list[Place]
    names: frozenset[str]
    notes: list[str]


def pictures(s3: Any, bucket: str, view: View, found: Survey, identity: str) -> Loose:
    """Everything in the person's folders, and what the tables say; a newer table outranks an older one."""
    whole = sorted(
        (version for key in view.labels for version in with_content(found.objects[key])),
        key=lambda version: -version.at,
    )
    listed = {file for version in whole for file, who in _assigned(s3, version) if who == normal(identity)}
    candidates = {
        versions[0].key: versions
        for folder in view.folders_of(identity)
        for versions in by_key(s3, bucket, folder)
    }
    in_folders = len(candidates)
    for file in listed if view.folders else ():
        if versions := _versions_of(s3, bucket, view, file):
            candidates[versions[0].key] = versions
    names = {normal(key.removeprefix(view.prefix)): key for key in candidates}
    others = _others(s3, view, whole, frozenset(names), identity)
    places = [
        # One of which delete markers alone are there, too: its key has the name.
        Place(PICTURE, view.dataset, tuple(candidates[key]), tuple(with_content(candidates[key])))
        for name, key in names.items()
        if name not in others
    ]
    notes = [
        f"{folder} is a folder of that name on another level: it stays" for folder in view.namesakes(identity)
    ]
    if in_folders and others:
        notes.append(
            f"a table calls {many(len(others), 'picture')} in {view.prefix} somebody else's: left there"
        )
    return Loose(places, frozenset(listed | names.keys()) - others, notes)


def _assigned(s3: Any, version: Version) -> Iterator[tuple[str, str]]:
    """(file, identity) of each line, both in one spelling; of none where the table cannot be understood."""
    first = [line for line, _ in zip(lines(body(s3, version)), range(2), strict=False)]
    if layout := tables.layout_of(version.key, first):
        for file, who in tables.assignments(layout, lines(body(s3, version))):
            yield normal(file), normal(who)


def _spellings(view: View, file: str) -> list[str]:
    """What a table may mean: it may put the channel's folder in front, or leave out one that wraps all."""
    return [file, file.partition("/")[2], *(wrap + file for wrap in view.wrapping)]


def _versions_of(s3: Any, bucket: str, view: View, file: str) -> list[Version]:
    """Of the object that a table means."""
    for name in _spellings(view, file):
        for form in ("NFC", "NFD"):
            if name and (versions := of_key(s3, bucket, view.prefix + unicodedata.normalize(form, name))):
                return versions
    return []


def _others(s3: Any, view: View, whole: Sequence[Version], names: frozenset[str], identity: str) -> set[str]:
    """Those that the newest table to name them gives to somebody else."""
    decided: dict[str, str] = {}
    for version in whole:
        for file, who in _assigned(s3, version):
            name = next((name for name in _spellings(view, file) if name in names), "")
            if name:
                decided.setdefault(name, who)
    return {name for name, who in decided.items() if who != normal(identity)}
