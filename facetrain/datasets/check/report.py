"""Everything that `dataset check` says, as one JSON object."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from facetrain.datasets.check import naming
from facetrain.datasets.check.advice import advice, estimates, harm
from facetrain.datasets.check.copies import Images, Runs, alike
from facetrain.datasets.check.scan import Scanned, scan
from facetrain.datasets.check.sources import Part, training_part, validation_parts
from facetrain.datasets.index import Index, damaged, read_index
from facetrain.datasets.layout import Layout, layout_of
from facetrain.errors import InputError
from training.formats.decode import SIZE
from training.formats.errors import DataError
from training.formats.listing import Listing

LISTED = 1000  # details of each kind at the most: the numbers beside them are of all
FILES_LISTED = 20  # of one group of copies
HISTOGRAM = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)  # where each bar begins

Report = dict[str, Any]


class Watching(Protocol):
    """Is told how far the check has come."""

    def start(self, images: int) -> None: ...

    def advance(self, images: int) -> None: ...

    def stage(self, name: str) -> None: ...


@dataclass(frozen=True)
class Found:
    """The parts, training first, and what was seen of each."""

    layout: Layout
    parts: list[Part]
    scanned: list[Scanned]

    @property
    def listing(self) -> Listing:
        assert self.parts[0].listing is not None
        return self.parts[0].listing


def check(directory: Path, watching: Watching, images_per_second: float | None = None) -> Report:
    """Reads and decodes every image. images_per_second: of training, for an estimate.

    Raises InputError where there is nothing that could be trained on, or a file is damaged.
    """
    layout = layout_of(directory)
    try:
        parts = [training_part(layout, directory)]
        parts += validation_parts(layout.validation, directory) if layout.validation else []
        index = read_index(layout.images)
    except DataError as error:
        raise InputError.because(str(directory), str(error)) from None
    watching.start(sum(len(part.files) for part in parts))
    scanned = [scan(part.source, len(part.files), watching.advance) for part in parts]
    watching.stage("comparing")
    found = Found(layout, parts, scanned)
    report = {"directory": str(directory), **_training(found), **_validation(found), **_copies(found)}
    report["index"] = _index(layout.images, index, watching) if index else None
    report |= estimates(found.listing, report, images_per_second)
    report["harm"] = harm(report)
    report["advice"] = advice(report)
    return report


def _training(found: Found) -> Report:
    listing, seen = found.listing, found.scanned[0]
    counts = listing.counts()
    single = [listing.identities[label] for label in np.flatnonzero(counts == 1)[:LISTED]]
    empty = naming.empty_folders(listing.root, listing, found.layout.without)
    names = list(naming.troubles(listing))
    unreadable = [
        {"channel": part.channel, "file": part.files[index], "reason": reason}
        for part, one in zip(found.parts, found.scanned, strict=True)
        for index, reason in sorted(one.unreadable.items())
    ]
    return {
        "images": len(listing),
        "identities": len(listing.identities),
        "unreadable": len(unreadable),
        "bytes": _bytes(listing, seen),
        "files": len(listing) if listing.spans is None else len(listing.spans.shards),
        "listing": dict(naming.notes_of(listing)),
        "images_per_identity": {
            "min": int(counts.min()),
            "median": float(np.median(counts)),
            "max": int(counts.max()),
            "most_pictured": listing.identities[int(counts.argmax())],
            "with_one_image": int((counts == 1).sum()),
            "histogram": histogram(counts),
        },
        "identities_with_one_image": single,
        "empty_folders": {"count": len(empty), "listed": empty[:LISTED]},
        "sizes": _sizes(seen),
        "formats": _formats(seen),
        "class_gaps": naming.class_gaps(listing),
        "names": {"count": len(names), "listed": [_named(*pair) for pair in names[:LISTED]]},
        "unreadable_files": unreadable[:LISTED],
    }


def _named(name: str, reason: str) -> Report:
    return {"name": name, "reason": reason}


def _bytes(listing: Listing, seen: Scanned) -> int:
    if listing.spans is None:
        return int(seen.size.sum())
    return sum((listing.root / shard).stat().st_size for shard in listing.spans.shards)


def histogram(counts: NDArray[np.int64]) -> list[Report]:
    """How many identities have 1, 2, 3 to 4, … images; empty bars only where they are between others."""
    ends = (*HISTOGRAM[1:], np.inf)
    bars = [
        {"images": _range(low, high), "identities": int(((counts >= low) & (counts < high)).sum())}
        for low, high in zip(HISTOGRAM, ends, strict=True)
    ]
    used = [number for number, bar in enumerate(bars) if bar["identities"]]
    return bars[used[0] : used[-1] + 1]


def _range(low: int, high: float) -> str:
    if high == np.inf:
        return f"{low}+"
    return str(low) if high == low + 1 else f"{low}-{int(high) - 1}"


def _sizes(seen: Scanned) -> Report:
    readable = seen.readable()
    width, height = seen.width[readable], seen.height[readable]
    fitting = (width == SIZE) & (height == SIZE)
    smaller = (width < SIZE) | (height < SIZE)
    common = Counter(zip(width.tolist(), height.tolist(), strict=True))
    return {
        "112x112": int(fitting.sum()),
        "smaller": int(smaller.sum()),
        "larger": int((~smaller & ~fitting).sum()),
        "not_square": int((width != height).sum()),
        "different": len(common),
        "commonest": {f"{wide}x{high}": count for (wide, high), count in common.most_common(10)},
    }


def _formats(seen: Scanned) -> dict[str, int]:
    counts = np.bincount(seen.format[seen.format >= 0], minlength=len(seen.formats))
    return dict(Counter(dict(zip(seen.formats, counts.tolist(), strict=True))).most_common())


def _index(folder: Path, index: Index, watching: Watching) -> Report:
    """Whether a packed dataset is still what was packed: every shard is read once more."""
    watching.stage("reading checksums")
    wrong = [_named(*file) for file in damaged(folder, index)]
    return {"files": len(index.files()), "damaged": len(wrong), "listed": wrong[:LISTED]}


def _validation(found: Found) -> Report:
    parts = found.parts[1:]
    people = {name for part in parts if part.listing for name in part.listing.identities if name}
    return {"validation": {"images": sum(len(part.files) for part in parts), "identities": len(people)}}


def _copies(found: Found) -> Report:
    """Exact and near copies, and what training and validation share."""
    images = Images.of(found.parts, found.scanned)
    training = Runs.of(images, images.part == 0)
    across = training.mixed(images.label)
    whole = Runs.of(images, images.readable)
    leaked = whole.mixed((images.part == 0).astype(np.int64))
    near = alike(images)
    between = [pair for pair in near.pairs if images.part[list(pair)].any()]
    inside = [pair for pair in near.pairs if not images.part[list(pair)].any()]
    mislabelled = [pair for pair in inside if images.label[pair[0]] != images.label[pair[1]]]
    same = [pair for pair in inside if images.label[pair[0]] == images.label[pair[1]]]
    people = set(found.listing.identities)
    shared = sorted(
        {name for part in found.parts[1:] if part.listing for name in part.listing.identities} & people
    )
    return {
        "duplicates": training.copies(),
        "duplicate_groups": {
            "within_identities": int((~across).sum()),
            "across_identities": int(across.sum()),
            "listed": _groups(images, (*training.take(across, LISTED), *training.take(~across, LISTED))),
        },
        "near_duplicates": {
            "pairs": len(inside),
            "across_identities": len(mislabelled),
            "not_compared": near.left_out,
            "listed": _groups(images, mislabelled + same),
        },
        "leaks": {
            "images": int(leaked.sum()),
            "near": len(between),
            "identities": len(shared),
            "listed_identities": shared[:LISTED],
            "listed": _groups(images, (*whole.take(leaked, LISTED), *map(np.array, between))),
        },
    }


def _groups(images: Images, groups: Iterable[Sequence[int] | NDArray[np.int64]]) -> list[Report]:
    return [_group(images, list(map(int, group))) for _, group in zip(range(LISTED), groups, strict=False)]


def _group(images: Images, group: Sequence[int]) -> Report:
    places = [images.place(index) for index in group[:FILES_LISTED]]
    files = [f"{part.channel}/{part.files[number]}" for part, number in places]
    names = dict.fromkeys(part.identity(number) for part, number in places)
    return {"images": len(group), "identities": list(names), "files": files}
