"""Takes a person out of the inputs: objects are written anew, then every version that held the person goes.

A kill at any point leaves each object as it was or without the person, and the next run finds what is left.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError

from facetrain.client import code
from facetrain.errors import OperationError
from facetrain.forgetting.places import INDEX, LABELS, PICTURE, RECORDS, Found, Place, with_content
from facetrain.forgetting.rewriting import Rewriter
from facetrain.forgetting.versions import Refused, Version, current, delete, of_key, remove

UNREAD = "unread"
_WAITS = "waits for what is left of its dataset"


@dataclass(frozen=True)
class Left:
    """What could not be done, and why: an error's code, or what happened. key: for the caller alone."""

    dataset: str
    kind: str
    key: str
    why: str
    versions: int = 0


@dataclass
class Removed:
    """What was done. objects: that no longer hold the person, rewritten or gone; bytes: of versions."""

    objects: int = 0
    rewritten: int = 0
    versions: int = 0
    bytes: int = 0
    left: list[Left] = field(default_factory=list)


def remove_from_inputs(
    s3: Any, found: Found, aside: Path, went: Callable[[int], None] = lambda _: None
) -> Removed:
    """Goes by the order of `found`. aside: an empty folder; went: hears how many places are done with.

    What fails is told in `left`, and the rest goes on; but tables that say who is who stay while anything of
    their dataset does.
    """
    done, rewriter = Removed(), Rewriter(s3, found)
    done.left += [Left(dataset, UNREAD, key, why) for dataset, key, why in found.unread]
    pictures = found.of(PICTURE)
    for place in found.places:
        if place.kind == PICTURE:
            if place is pictures[0]:
                _delete_pictures(s3, pictures, done)
        elif place.kind in (INDEX, LABELS) and any(left.dataset == place.dataset for left in done.left):
            done.left.append(Left(place.dataset, place.kind, place.key, _WAITS, len(place.chosen)))
        else:
            with _told(place, done):
                _settle(s3, place, rewriter, aside, done)
        went(1)
    return done


def _settle(s3: Any, place: Place, rewriter: Rewriter, aside: Path, done: Removed) -> None:
    new = False
    if place.rest or (place.kind == RECORDS and place.detail.torn):
        with tempfile.TemporaryDirectory(dir=aside) as folder:
            new = rewriter.rewrite(place, Path(folder))
    else:
        rewriter.gone(place)
    if new or place.kind == INDEX:
        # Without versions, what was written anew has the name of what it replaced.
        now = current(of_key(s3, place.bucket, place.key)) if new else place.versions[0]
        refused = delete(s3, [one for one in place.chosen if now is None or one.id != now.id])
    else:
        refused = remove(s3, place.versions, place.chosen)
    if place.kind == RECORDS and not new and place.chosen[0].latest:
        index = of_key(s3, place.bucket, place.key.removesuffix(".rec") + ".idx")
        refused += remove(s3, index, with_content(index)) if current(index) else []
    _count(place, refused, done, new)


def _delete_pictures(s3: Any, places: Sequence[Place], done: Removed) -> None:
    """All of them in few calls: nothing of a person's picture stays, and no delete marker is of use."""
    refused = delete(s3, [version for place in places for version in place.versions])
    by_key: dict[str, list[Refused]] = {}
    for one in refused:
        by_key.setdefault(one.version.key, []).append(one)
    for place in places:
        _count(place, by_key.get(place.key, []), done)


def _count(place: Place, refused: Sequence[Refused], done: Removed, new: bool = False) -> None:
    stay = {one.version.id for one in refused}
    gone: list[Version] = [version for version in place.chosen if version.id not in stay]
    done.versions += len(gone)
    done.bytes += sum(version.size for version in gone)
    done.rewritten += new
    done.objects += not refused
    if refused:
        done.left.append(Left(place.dataset, place.kind, place.key, refused[0].code, len(refused)))


@contextmanager
def _told(place: Place, done: Removed) -> Iterator[None]:
    """What S3 or the disk refuses goes into the account; what is left of the object, the next run finds."""
    try:
        yield
    except ClientError as error:
        why = code(error)
    except S3UploadFailedError as error:
        cause = error.__context__
        why = code(cause) if isinstance(cause, ClientError) else "the upload failed"
    except OperationError as error:
        why = str(error)
    except OSError as error:
        why = f"{error.strerror or error} (TMPDIR)"
    else:
        return
    done.left.append(Left(place.dataset, place.kind, place.key, why, len(place.chosen)))
