"""What a rank makes of its channels: whom to train on, and whom to verify on."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.arcface import weights
from training.arcface.data import aligning, split
from training.arcface.data.finds import Finds
from training.arcface.data.store import Dataset, DecodeReport, Decoding, open_and_tell
from training.arcface.distributed import World
from training.arcface.settings import Settings
from training.arcface.verification import groups
from training.arcface.verification.discover import BIN, Finder
from training.arcface.verification.sets import EvaluationSet, of_identities
from training.container.forgotten import DeletionList
from training.container.stopping import Stop
from training.formats.files import files_below
from training.formats.listing import Listing, find, table_of
from training.jobs.contract import ContainerPaths


@dataclass(frozen=True)
class Data:
    """Who is trained on, what is verified on, and why nothing is where nothing is."""

    train: Dataset
    held_out: Dataset | None  # identities that pairs are drawn of
    reason: str = ""
    sets: tuple[EvaluationSet, ...] = ()
    decoded: DecodeReport | None = None  # of the images channel
    verified: tuple[tuple[str, str], ...] = ()  # channel and identity of all that are verified on; "" of .bin

    @property
    def aligned(self) -> str:
        """The mark of how photos became faces, empty where the images are faces."""
        aligned = self.decoded.aligned if self.decoded else None
        return aligned.mark if aligned else ""

    def lines(self) -> Iterator[str]:
        """Whom the network is verified on, as the log says it."""
        if not self.sets:
            yield f"held_out identities=0: no verification: {self.reason}"
        elif self.held_out is not None:
            listing = self.held_out.listing
            yield f"held_out identities={len(listing.identities)} images={len(listing)}"
        yield from (one.line() for one in self.sets)


def load_data(
    paths: ContainerPaths,
    settings: Settings,
    scratch: Path,
    world: World,
    *,
    stop: Stop,
    log: Callable[[str], None],
    forgotten: DeletionList | None = None,
) -> Data:
    """Raises TrainingError where there is nothing to train on, or more is unreadable than allowed.

    scratch: a folder that the ranks of one host share. forgotten: whose images are left out everywhere.
    """
    decoding = Decoding(
        scratch,
        settings.workers,
        settings.max_unreadable,
        check_stop=stop.check,
        listed_in=paths.output_data,
        fast_file=fast_file(paths.input_data_config),
        alignment=aligning.from_channels(
            paths.channel(aligning.CHANNEL),
            weights.choose_detector(paths.channel("weights"), settings.detector),
            lambda digest: Finds(
                paths.checkpoints / f"faces-{digest}",
                world.rank,
                log,
                writes=world.rank == world.local_rank,
            ),
        ),
        tell=log,
    )

    reports: dict[str, DecodeReport] = {}

    def opened(listing: Listing, channel: str) -> Dataset:
        listing = (forgotten or DeletionList()).without(listing, channel, log)
        alignment = aligning.of_channel(decoding.alignment, listing, channel, log)
        mine = replace(decoding, alignment=alignment)
        dataset, reports[channel] = open_and_tell(listing, world, mine, channel, log)
        return dataset

    images, labels = paths.channel("images"), paths.channel("labels")
    listed = find(images, labels)
    if decoding.alignment and world.rank == 0:
        validation = paths.channel("validation")
        photos = [*listed.files, *(files_below(validation)[0] if validation.is_dir() else ())]
        aligning.tell_unused(decoding.alignment, photos, paths.output_data, log)
    whole = opened(listed, "images")
    split.refuse_too_few(whole.listing)
    if paths.channel("validation").is_dir():
        finder = Finder(opened, settings.seed, settings.max_unreadable, decoding.threads, log)
        found = finder.find(paths.channel("validation"), "validation")
        for dataset in found.named:
            split.refuse_overlap(whole.listing, dataset.listing)
        verified = _verified(found.named, nameless=len(found.sets) > len(found.named))
        return Data(whole, found.identities, "", found.sets, reports["images"], verified)
    if bins := len(list(images.glob(f"*{BIN}"))):
        log(f"bin_files={bins} in the images channel are not read: verify on them in a validation channel")
    chosen, reason = split.hold_out(whole.listing, settings.holdout_fraction, settings.seed)
    if reason:
        return Data(whole, None, reason, decoded=reports["images"])
    held_out = whole.of_identities(chosen)
    of_group = groups.read([images, labels], table_of(images, labels))
    one = of_identities("held_out", held_out, settings.seed, of_group)
    verified = tuple(("images", identity) for identity in held_out.listing.identities)
    return Data(whole.of_identities(~chosen), held_out, "", (one,), reports["images"], verified)


def _verified(named: Sequence[Dataset], *, nameless: bool) -> tuple[tuple[str, str], ...]:
    """Of the validation channel; where no table says whose an image is, its folder does."""
    found = {""} if nameless else set()
    for dataset in named:
        listing = dataset.listing
        found |= set(listing.identities) - {""}
        if "" in listing.identities:
            unnamed = listing.labels == listing.identities.index("")
            found |= {Path(listing.files[index]).parent.name for index in np.flatnonzero(unnamed)}
    return tuple(("validation", identity) for identity in sorted(found))


def fast_file(config: Path) -> frozenset[str]:
    """The channels that the service streams from S3, by its inputdataconfig.json; none without that file."""
    if not config.is_file():
        return frozenset()
    channels = json.loads(config.read_text(encoding="utf-8"))
    return frozenset(name for name, one in channels.items() if one.get("TrainingInputMode") == "FastFile")
