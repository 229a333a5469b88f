"""`forget`: one person out of every dataset, job and model, after all was shown and agreed to."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facetrain.cli import output
from facetrain.cli.options import AsJson, Cloud, Local, Stage, deployment
from training.formats.words import many

if TYPE_CHECKING:
    from facetrain.client import Deployment
    from facetrain.forgetting.order import Forgot, Seen
    from facetrain.forgetting.removal import Left

_SHOWN = 20  # rows and notes of a kind; --json has all
_DENIED = ("AccessDenied", "AccessDeniedException", "AllAccessDisabled")


def forget(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="IDENTITY",
            help="As folders, tables or identities.csv call the person; of a .rec without names, the number.",
            show_default=False,
        ),
    ],
    *,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only in this dataset, where another has somebody else of that name.  [default: everywhere]",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show everything and change nothing.")] = False,
    as_json: AsJson = False,
    stage: Stage = None,
    local: Local = False,
    cloud: Cloud = None,
) -> None:
    """Forget one person: delete their pictures, in all versions, and clean and mark what learnt from them."""
    from facetrain.forgetting import order
    from training.jobs.forgotten import EVERY_DATASET

    with tempfile.TemporaryDirectory(prefix="facetrain-forget-") as aside:
        with output.refusals(as_json):
            _check(identity, yes or dry_run)
            deployed = deployment(local, cloud, stage)
            if dataset is not None:
                _check_dataset(deployed, dataset)
        seen = order.look(deployed, identity, dataset or EVERY_DATASET, Path(aside), output.say)
        if not as_json:
            _show(seen)
        if dry_run:
            output.put_json(_as_json(seen)) if as_json else output.say("nothing was changed (--dry-run)")
            return
        if not (yes or _agreed(seen)):
            output.say("nothing was changed")
            raise typer.Exit(output.REFUSED)
        with output.progress(things=True) as bar:
            task = bar.add_task("inputs", total=len(seen.found.places))
            done = order.forget(
                deployed,
                seen,
                Path(aside),
                datetime.now(UTC),
                note=output.say,
                went=lambda count: bar.advance(task, count),
            )
    if as_json:
        output.put_json(_as_json(seen) | _done_as_json(done))
    else:
        _tell(done)
    if not done.complete:
        for sentence in _sentences(done):
            output.say(f"facetrain: {sentence}")
        raise typer.Exit(output.FAILED)


def _check(identity: str, answered: bool) -> None:
    from facetrain.errors import InputError

    if not identity.strip() or any(ord(character) < 32 for character in identity):
        raise InputError.because("IDENTITY", "is empty or has control characters: name one person")
    if not answered and not sys.stdin.isatty():
        raise InputError.because(
            "--yes", "is needed where nobody can be asked; --dry-run shows what there is"
        )


def _check_dataset(deployed: "Deployment", dataset: str) -> None:
    """Raises InputError where there is no object of this dataset, not even an older version of one."""
    from facetrain.errors import InputError
    from facetrain.forgetting.versions import by_key
    from facetrain.storage import Store
    from training.jobs import contract
    from training.jobs.problems import did_you_mean
    from training.jobs.uri import S3Uri

    folder = deployed.dataset_folder(dataset)
    if next(by_key(deployed.s3, folder.bucket, folder.key), None) is None:
        every = Store(deployed.s3).names_in(S3Uri(folder.bucket, contract.INPUTS_PREFIX))
        hint = did_you_mean(dataset, (name.rstrip("/") for name in every))
        raise InputError.because("--dataset", f'there is no dataset "{dataset}"{hint}')


def _show(seen: "Seen") -> None:
    rows = list(_rows(seen))
    if rows:
        output.put_table(("dataset", "what", "of the person", "versions", "size", "where"), rows[:_SHOWN])
        if len(rows) > _SHOWN:
            output.put(f"and {len(rows) - _SHOWN} more (--json lists all)")
    for name in seen.running:
        output.put(f"job {name} reads them now: it will be stopped")
    for job in seen.outputs.jobs:
        output.put(f"job {job.name}: {job.why}" + ("; its model learnt from them" if job.learnt else ""))
    more = len(seen.outputs.objects) + len(seen.outputs.checkpoints)
    if more:
        held = f"{many(more, 'object')} of models, reports and checkpoints"
        output.put(f"{held} {'holds' if more == 1 else 'hold'} something of them")
    _notes(seen)
    if seen.is_empty:
        known = ", who is on the deletion list" if seen.listed else ""
        output.say(f"nothing is there of {output.visible(seen.identity)}{known}")


def _notes(seen: "Seen") -> None:
    notes = [*seen.found.notes, *(f"{key} {why}" for _, key, why in seen.found.unread), *seen.outputs.unread]
    for note in notes[:_SHOWN]:
        output.say(f"note: {output.visible(note)}")
    if len(notes) > _SHOWN:
        output.say(f"note: and {len(notes) - _SHOWN} more (--json lists all)")


def _rows(seen: "Seen") -> Iterator[list[str]]:
    """One for each object; one for each folder of pictures."""
    from facetrain.forgetting.places import PICTURE, Place

    by_folder: dict[str, list[Place]] = {}
    for place in seen.found.places:
        loose = place.kind == PICTURE
        by_folder.setdefault(place.key.rpartition("/")[0] + "/" if loose else place.key, []).append(place)
    for where, places in by_folder.items():
        first = places[0]
        yield [
            output.visible(first.dataset),
            first.kind,
            str(sum(place.count for place in places) or ""),
            str(sum(len(place.chosen) for place in places)),
            output.size(sum(place.bytes for place in places)),
            output.visible(where),
        ]


def _agreed(seen: "Seen") -> bool:
    if seen.is_empty and seen.listed:
        return True  # an earlier run ended before its record was written: nothing else is left to do
    ask = (
        "Nobody of that name is found. Put it on the deletion list?" if seen.is_empty else "Delete all this?"
    )
    print(f"{ask} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tell(done: "Forgot") -> None:
    inputs, outputs = done.inputs, done.outputs
    output.put_fields(
        {
            "inputs": f"{many(inputs.versions, 'version')} deleted ({output.size(inputs.bytes)}), "
            f"{many(inputs.rewritten, 'object')} written anew",
            "outputs": f"{many(outputs.versions, 'version')} deleted ({output.size(outputs.bytes)}), "
            f"{many(outputs.objects, 'object')} written anew",
            "stopped": ", ".join(done.stopped),
            "models": f"{outputs.models} marked: train them again" if outputs.models else "",
            "record": done.record,
        }
    )
    if done.stopped:
        output.say("jobs that were stopped: drop their manifests again, and they train without the person")
    if done.complete:
        output.say("forgotten; jobs that start from now on leave the person out")


def _sentences(done: "Forgot") -> Iterator[str]:
    from facetrain.forgetting.removal import UNREAD
    from facetrain.forgetting.unfinished import KIND

    for name in done.endless:
        yield f"{name} did not stop in time: wait for its end, then run this again"
    for one in [one for one in done.inputs.left if one.kind == UNREAD][:_SHOWN]:
        yield (
            f"{output.visible(one.key)} cannot be read ({output.visible(one.why)}), so nobody knows whom it "
            "holds: upload it again or delete it, then run this again"
        )
    if left := [one for one in done.inputs.left if one.kind not in (KIND, UNREAD)]:
        yield _inputs_left(left)
    if uploads := [one for one in done.inputs.left if one.kind == KIND]:
        yield (
            f"unfinished uploads, such as {output.visible(uploads[0].key)}, may hold the person "
            f"({uploads[0].why}): have these credentials granted s3:ListBucketMultipartUploads and "
            "s3:AbortMultipartUpload, then run this again"
        )
    yield from done.outputs.left[:_SHOWN]


def _inputs_left(left: "list[Left]") -> str:
    """One sentence: how much is left, why, and what to do."""
    reasons = sorted({one.why for one in left})
    denied = any(why in _DENIED for why in reasons)
    remedy = (
        "have these credentials granted s3:DeleteObject, s3:DeleteObjectVersion and s3:PutObject on it"
        if denied
        else "see docs/forgetting.md"
    )
    such = output.visible(left[0].key)
    return (
        f"{many(len(left), 'object')} of the inputs bucket still {'holds' if len(left) == 1 else 'hold'} the "
        f"person, such as {such} "
        f"({', '.join(reasons)}): {remedy}, then run this again; the deletion list already holds"
    )


def _as_json(seen: "Seen") -> dict[str, Any]:
    return {
        "identity": seen.identity,
        "dataset": seen.person.dataset,
        "listed": seen.listed,
        "datasets": seen.found.datasets,
        "found": [
            {
                "dataset": place.dataset,
                "what": place.kind,
                "key": f"s3://{place.bucket}/{place.key}",
                "count": place.count,
                "versions": len(place.chosen),
                "bytes": place.bytes,
            }
            for place in seen.found.places
        ],
        "running": seen.running,
        "jobs": [{"name": job.name, "why": job.why, "learnt": job.learnt} for job in seen.outputs.jobs],
        "notes": [*seen.found.notes, *seen.outputs.unread],
        "unread": [{"key": key, "why": why} for _, key, why in seen.found.unread],
    }


def _done_as_json(done: "Forgot") -> dict[str, Any]:
    return {
        "complete": done.complete,
        "inputs": {
            "objects": done.inputs.objects,
            "rewritten": done.inputs.rewritten,
            "versions": done.inputs.versions,
            "bytes": done.inputs.bytes,
        },
        "outputs": {
            "models": done.outputs.models,
            "rewritten": done.outputs.objects,
            "versions": done.outputs.versions,
            "bytes": done.outputs.bytes,
        },
        "stopped": done.stopped,
        "record": done.record,
        "left": [{"key": left.key, "why": left.why} for left in done.inputs.left]
        + [{"job": name, "why": "did not stop in time"} for name in done.endless]
        + [{"why": why} for why in done.outputs.left],
    }
