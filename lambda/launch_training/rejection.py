"""manifest.rejected.json: what is wrong with the newest drop of the manifest that lies beside it.

Drops may come in any order and twice, so each step asks what is newest *after* it has read or written, and
takes away exactly the revision that it knows: a verdict on a newer drop is never removed or hidden for good.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launch_training.adapters import Aws, Revision, Store
from launch_training.log import decision
from training.jobs import contract
from training.jobs.problems import Problem
from training.jobs.uri import S3Uri

VERSION_KEY = "version"  # in the file: the drop that was rejected


@dataclass(frozen=True)
class Verdict:
    """A rejection file: its own revision, and the id of the drop that it is about."""

    revision: Revision
    about: str | None


def place_of(manifest: S3Uri) -> S3Uri:
    return manifest.folder.join(contract.REJECTION_NAME)


def verdict_beside(manifest: S3Uri, store: Store) -> Verdict | None:
    stored = store.read(place_of(manifest))
    if stored is None:
        return None
    try:
        about = json.loads(stored.body).get(VERSION_KEY)
    except (ValueError, AttributeError):
        about = None  # not as we wrote it: about no drop of ours
    return Verdict(stored.revision, about)


def reject(manifest: S3Uri, drop: Revision, problems: Sequence[Problem], aws: Aws) -> None:
    """Tell what is wrong: topic, metric, and last the file, which says that the others were told.

    Once for each drop; not at all for one that a newer drop has replaced.
    """
    verdict = verdict_beside(manifest, aws.store)
    if verdict is None or verdict.about != drop.id:
        if not _is_newest(manifest, drop, aws.store):
            return decision("superseded", manifest=manifest, version=drop.id)
        _announce(manifest, problems, aws)
        verdict = Verdict(aws.store.write(place_of(manifest), _content(manifest, drop, problems)), drop.id)
    if not _is_newest(manifest, drop, aws.store):
        aws.store.delete(place_of(manifest), verdict.revision)
    return decision("rejected", manifest=manifest, version=drop.id, problems=[item.path for item in problems])


def clear(manifest: S3Uri, drop: Revision, aws: Aws) -> None:
    """Take away the verdicts on older drops, now that `drop` is accepted.

    A verdict is read before the newest drop is asked for: if that is `drop`, the verdict is on an older one.
    Taking away one revision of the file uncovers the one before it, hence the loop.
    """
    place = place_of(manifest)
    while (verdict := aws.store.newest(place)) and _is_newest(manifest, drop, aws.store):
        aws.store.delete(place, verdict)
        decision("rejection cleared", manifest=manifest, version=drop.id)


def _is_newest(manifest: S3Uri, drop: Revision, store: Store) -> bool:
    newest = store.newest(manifest)
    return newest is not None and newest.id == drop.id


def _announce(manifest: S3Uri, problems: Sequence[Problem], aws: Aws) -> None:
    lines = [f"No job was started for {manifest}:", "", *(f"  {problem}" for problem in problems), ""]
    lines.append("Mend it and drop it again; nothing else is needed.")
    aws.notices.publish(f"Facetrain: manifest of {manifest.folder.name} rejected", "\n".join(lines) + "\n")
    aws.notices.count("ManifestRejected")


def _content(manifest: S3Uri, drop: Revision, problems: Sequence[Problem]) -> dict[str, Any]:
    return {
        "manifest": str(manifest),
        VERSION_KEY: drop.id,
        "errors": [{"path": problem.path, "message": problem.message} for problem in problems],
    }
