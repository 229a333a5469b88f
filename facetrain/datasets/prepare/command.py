"""`facetrain dataset prepare`: everything in its order."""

import errno
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facetrain.datasets.prepare import pool, report
from facetrain.datasets.prepare.journal import FOLDER, Journal, stamp
from facetrain.datasets.prepare.mislabels import Recogniser, mislabels
from facetrain.datasets.prepare.network import open_detector
from facetrain.datasets.prepare.photos import Photo, Photos, find_photos
from facetrain.datasets.prepare.suspects import Suspect, near_duplicates
from facetrain.datasets.prepare.worker import SUFFIXES, Plan, Task
from facetrain.errors import InputError, OperationError
from training.formats.errors import DataError
from training.formats.faces import LEAST_EYES
from training.formats.landmarks import Landmarks, read_landmarks
from training.formats.listing import common_depth

Done = Callable[[int, int], None]  # of how many photos


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    source: Path
    destination: Path
    detector: Path | None = None
    landmarks: Path | None = None
    labels: Path | None = None
    model: Path | None = None  # a recognition network, which looks for mislabelled photos
    form: str = "jpeg"
    min_eyes: float = LEAST_EYES
    processes: int = 0  # 0: one for each core


@dataclass(frozen=True)
class Prepared:
    """What became of it. dropped: photos by reason; found_before: rows of an earlier run."""

    photos: int
    kept: int
    identities: int
    dropped: dict[str, int]
    found_before: int
    others: int
    links: int
    removed: int  # faces of an earlier run whose photos are gone or changed
    landmarks_without_photo: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    table: Path
    sheet: Path | None
    boxes_alone: bool = False  # the detector finds no landmarks


def prepare(wanted: Wanted, done: Done = lambda _count, _of: None) -> Prepared:
    """Writes DEST, or goes on with it. Raises InputError, or OperationError where the disk is full."""
    _check(wanted)
    found = find_photos(wanted.source, wanted.labels)
    table = _landmarks(wanted)
    # What is wrong with it is said here, and not by every process.
    boxes_alone = wanted.detector is not None and not open_detector(wanted.detector).landmarks
    recogniser = Recogniser(wanted.model) if wanted.model else None
    try:
        journal = Journal(wanted.destination, _options(wanted))
        try:
            prepared = _prepared(wanted, found, table, journal, recogniser, done=done)
            return replace(prepared, boxes_alone=boxes_alone)
        finally:
            journal.close()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OperationError(
                f"{wanted.destination}: the disk is full; what is done stays: make room and run it again"
            ) from None
        raise


def _prepared(
    wanted: Wanted,
    found: Photos,
    table: Landmarks | None,
    journal: Journal,
    recogniser: Recogniser | None,
    *,
    done: Done,
) -> Prepared:
    photos = found.photos
    tasks = [_task(photo, table) for photo in photos]
    open_tasks = [task for task in tasks if not _is_done(task, wanted, journal)]
    before = len(photos) - len(open_tasks)
    done(before, len(photos))
    plan = Plan(wanted.source, wanted.destination, wanted.detector, wanted.form, wanted.min_eyes)
    processes = min(wanted.processes or pool.cores(), max(1, len(open_tasks)))
    with closing(pool.run(plan, open_tasks, processes)) as finished:
        for count, row in enumerate(finished, before + 1):
            journal.add(row)
            done(count, len(photos))
    rows = [journal.rows[photo.file] for photo in photos]
    removed = _remove_stale(wanted.destination, journal.faces - {row.face for row in rows})
    kept = [row for row in rows if row.kept]
    faces = [row.face for row in kept]
    depth = common_depth(faces)
    identities = [face.split("/")[depth] for face in faces]
    suspects = near_duplicates(kept, identities)
    if recogniser and kept:
        suspects += mislabels(kept, identities, recogniser.embed(wanted.destination, faces, done))
    folder = wanted.destination / FOLDER
    report.write_suspects(folder, suspects)
    return Prepared(
        photos=len(rows),
        kept=len(kept),
        identities=len(set(identities)),
        dropped=dict(Counter(row.reason for row in rows if not row.kept).most_common()),
        found_before=before,
        others=found.others,
        links=found.links,
        removed=removed,
        landmarks_without_photo=tuple(table.missing(photo.file for photo in photos)) if table else (),
        suspects=tuple(suspects),
        table=report.write_table(folder, rows),
        sheet=report.write_sheet(wanted.destination, folder, rows),
    )


def _is_done(task: Task, wanted: Wanted, journal: Journal) -> bool:
    photo = task.photo
    row = journal.rows.get(photo.file)
    if row is None or row.stamp != stamp(wanted.source / photo.file, task.face):
        return False
    if not row.kept:
        return row.reason != "no_identity" or not photo.face
    # Its name may be another now, where photos of nearly the same name have come or gone.
    is_its_name = row.face == photo.face + SUFFIXES[wanted.form]
    return is_its_name and (wanted.destination / row.face).is_file()


def _remove_stale(destination: Path, faces: Iterable[str]) -> int:
    inside = [destination / face for face in faces if ".." not in Path(face).parts]
    stale = [path for path in inside if path.is_file()]
    for path in stale:
        path.unlink()
    return len(stale)


def _task(photo: Photo, table: Landmarks | None) -> Task:
    name = table.name_of(photo.file) if table else None
    return Task(photo, table.faces[name] if table and name is not None else None)


def _landmarks(wanted: Wanted) -> Landmarks | None:
    try:
        return read_landmarks(wanted.landmarks) if wanted.landmarks else None
    except (DataError, OSError) as error:
        raise InputError.because("--landmarks", str(error)) from None


def _check(wanted: Wanted) -> None:
    if (wanted.detector is None) == (wanted.landmarks is None):
        raise InputError.because(
            "--detector", "give either --detector (a face detector, .onnx) or --landmarks (a table)"
        )
    if not wanted.source.is_dir():
        raise InputError.because("SRC", f"{wanted.source} is no folder")
    for option, path in _files(wanted):
        if not path.is_file():
            raise InputError.because(option, f"{path} does not exist, or is no file")
    source, destination = wanted.source.resolve(), wanted.destination.resolve()
    if destination.is_relative_to(source) or source.is_relative_to(destination):
        raise InputError.because(
            "DEST", f"{wanted.destination} and {wanted.source} lie in each other: name a folder beside"
        )


def _files(wanted: Wanted) -> Iterator[tuple[str, Path]]:
    for option, path in (
        ("--detector", wanted.detector),
        ("--landmarks", wanted.landmarks),
        ("--labels", wanted.labels),
        ("--model", wanted.model),
    ):
        if path is not None:
            yield option, path


def _options(wanted: Wanted) -> dict[str, Any]:
    """What all faces depend on. What tables say is asked photo by photo: they grow with the photos."""
    detector = wanted.detector and hashlib.sha256(wanted.detector.read_bytes()).hexdigest()
    return {
        "SRC": str(wanted.source.resolve()),
        "--detector": detector,
        "--format": wanted.form,
        "--min-eyes": wanted.min_eyes,
    }
