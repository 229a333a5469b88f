"""Everything that `dataset check` says of pictures with boxes, as one JSON object."""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from facetrain.datasets.boxes.folder import Detection
from facetrain.datasets.check.parallel import in_threads
from facetrain.datasets.check.report import LISTED, Watching
from facetrain.datasets.check.scan import Scanned, scan
from facetrain.datasets.check.sources import pictures_part
from training.formats import boxes
from training.formats.decode import read_bytes
from training.formats.errors import DataError, UnreadableError
from training.formats.words import many

Report = dict[str, Any]
MANY_CLASSES = 2**31  # where nothing says how many there are


@dataclass(frozen=True)
class Labels:
    """What the label files of the pictures hold. faults, beyond: `labels/a.txt, line 3: …`."""

    boxes: Counter[int] = field(default_factory=Counter)  # by class
    missing: list[str] = field(default_factory=list)  # pictures without a label file
    empty: list[str] = field(default_factory=list)  # pictures with nothing in them
    faults: list[str] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)  # rows whose class has no name
    files: set[str] = field(default_factory=set)


def check_boxes(directory: Path, found: Detection, watching: Watching) -> Report:
    """Decodes every picture and reads every label file."""
    watching.start(len(found.pictures))
    part = pictures_part(found.images, found.pictures, directory)
    seen = scan(part.source, len(found.pictures), watching.advance)
    watching.stage("reading labels")
    read = _labels(found)
    strays = sorted(found.labelled - read.files)
    report = {
        "directory": str(directory),
        "images": len(found.pictures),
        "train": any(file.startswith("train/") for file in found.pictures),
        "splits": dict(sorted(Counter(_split(file) for file in found.pictures).items())),
        "labels": len(read.files),
        "boxes": sum(read.boxes.values()),
        "classes": _classes(found, read),
        "named": len(found.names),
        **_pictures(found, seen),
        "missing_labels": _listed(read.missing),
        "empty_labels": _listed(read.empty),
        "labels_without_picture": _listed(strays),
        "faults": _listed(read.faults),
        "beyond": _listed(read.beyond),
    }
    return report | {"harm": harm(report), "advice": advice(report)}


def _labels(found: Detection) -> Labels:
    read = Labels()
    count = len(found.names) or MANY_CLASSES
    for picture, (name, rows, faults) in zip(
        found.pictures, in_threads(partial(_read, found, count), found.pictures), strict=True
    ):
        if name is None:
            read.missing.append(picture)
            continue
        read.files.add(name)
        for fault in faults:
            line = f", line {fault.line}:" if fault.line else ""
            (read.beyond if fault.beyond else read.faults).append(f"labels/{name}{line} {fault.message}")
        read.boxes.update(rows[:, 0].astype(int).tolist())
        if not len(rows) and not faults:
            read.empty.append(picture)
    return read


def _read(found: Detection, count: int, picture: str) -> tuple[str | None, boxes.Boxes, list[boxes.Fault]]:
    """The picture's label file, its boxes and its faults; of line 0 where all of it cannot be read."""
    name = boxes.label_of(picture, found.labelled)
    nothing = np.zeros((0, boxes.COLUMNS), np.float32)
    if name is None:
        return None, nothing, []
    try:
        return name, *boxes.read(read_bytes(found.labels / name), count)
    except (DataError, UnreadableError) as error:
        return name, nothing, [boxes.Fault(0, str(error))]


def _split(file: str) -> str:
    folder, slash, _ = file.partition("/")
    return folder if slash else "."


def _classes(found: Detection, read: Labels) -> list[Report]:
    numbers = range(len(found.names)) if found.names else sorted(read.boxes)
    return [
        {
            "class": number,
            "name": found.names[number] if found.names else None,
            "boxes": read.boxes[number],
        }
        for number in numbers
    ]


def _pictures(found: Detection, seen: Scanned) -> Report:
    readable = seen.readable()
    tiny = np.flatnonzero(readable & (np.minimum(seen.width, seen.height) < boxes.SMALLEST))
    reasons = dict(sorted(seen.unreadable.items()))
    reasons |= {int(i): f"has {seen.width[i]} x {seen.height[i]} pixels, too few" for i in tiny}
    splits: dict[bytes, set[str]] = {}
    for index in np.flatnonzero(readable):
        splits.setdefault(seen.digest[index].tobytes(), set()).add(_split(found.pictures[index]))
    files = [f"{found.pictures[index]} {reason}" for index, reason in reasons.items()]
    return {
        "bytes": int(seen.size.sum()),
        "unreadable": _listed(files),
        "duplicates": int(readable.sum()) - len(splits),
        "in_several_splits": sum(len(where) > 1 for where in splits.values()),
    }


def _listed(lines: list[str]) -> Report:
    return {"count": len(lines), "listed": lines[:LISTED]}


def harm(report: Report) -> list[str]:
    """What would end the job, or spoil its figures."""
    unlabelled, beyond = report["missing_labels"]["count"], report["beyond"]["count"]
    images, unreadable = report["images"], report["unreadable"]["count"]
    too_many = unlabelled > (1 - boxes.LEAST_LABELLED) * images
    found = [
        (not report["boxes"], "no box in any label file: there is nothing to train on"),
        (
            too_many,
            f"{unlabelled:,} of {many(images)} without a label file: an empty one says that nothing is there",
        ),
        (beyond, f"{many(beyond, 'row')} of classes that nc and names do not give: the job would be refused"),
        (
            report["faults"]["count"],
            f"{many(report['faults']['count'], 'row')} that cannot be read: their pictures are left out",
        ),
        (unreadable, f"{many(unreadable)} that cannot be read: left out of training"),
        (
            report["train"] and report["in_several_splits"],
            f"{many(report['in_several_splits'])} in train and in another folder: the figures would flatter",
        ),
    ]
    return [sentence for is_so, sentence in found if is_so]


def advice(report: Report) -> list[str]:
    """One line each."""
    unlabelled, strays = report["missing_labels"]["count"], report["labels_without_picture"]["count"]
    unused = [one["name"] for one in report["classes"] if not one["boxes"]]
    found = [
        (not report["named"], "no YAML names the classes: the job needs one in cfg, with nc and names"),
        (unlabelled, f"{many(unlabelled)} without a label file: trained on as pictures with nothing in them"),
        (strays, f"{many(strays, 'label file')} without a picture: not read"),
        (unused, f"classes without a box: {', '.join(map(str, unused[:5]))}{' …' * (len(unused) > 5)}"),
        (report["duplicates"], f"{many(report['duplicates'], 'further copy')} of pictures: delete them"),
        ("val" not in report["splits"], "no folder val: a share is kept to measure on, by the seed"),
    ]
    return [sentence for is_so, sentence in found if is_so]
