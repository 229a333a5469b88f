"""What a rank makes of its channels: whom to train on, and whom to verify on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training.arcface.data import split
from training.arcface.data.listing import Listing, find
from training.arcface.data.store import Dataset, Decoding, open_dataset
from training.arcface.distributed import World
from training.arcface.settings import Settings
from training.arcface.stopping import Stop
from training.arcface.verification.sets import EvaluationSet, of_identities
from training.jobs.contract import ContainerPaths


@dataclass(frozen=True)
class Data:
    """Who is trained on, who is verified on, and why nobody is where nobody is."""

    train: Dataset
    held_out: Dataset | None
    reason: str = ""
    sets: tuple[EvaluationSet, ...] = ()

    def held_out_line(self) -> str:
        if self.held_out is None:
            return f"held_out identities=0: no verification: {self.reason}"
        listing = self.held_out.listing
        return f"held_out identities={len(listing.identities)} images={len(listing)}"


def load_data(
    paths: ContainerPaths,
    settings: Settings,
    scratch: Path,
    world: World,
    *,
    stop: Stop,
    log: Callable[[str], None],
) -> Data:
    """Raises TrainingError where there is nothing to train on, or more is unreadable than allowed.

    scratch: a folder that the ranks of one host share.
    """
    decoding = Decoding(
        scratch,
        settings.workers,
        settings.max_unreadable,
        check_stop=stop.check,
        listed_in=paths.output_data,
    )

    def opened(listing: Listing, channel: str) -> Dataset:
        dataset, decoded = open_dataset(listing, world, decoding, channel)
        for line in (*listing.notes, *decoded.lines(channel)):
            log(line)
        return dataset

    whole = opened(find(paths.channel("images"), paths.channel("labels")), "images")
    split.refuse_too_few(whole.listing)
    if paths.channel("validation").is_dir():
        validation = opened(find(paths.channel("validation"), None, "validation"), "validation")
        split.refuse_unverifiable(validation.listing)
        split.refuse_overlap(whole.listing, validation.listing)
        return _with_sets(whole, validation, settings)
    chosen, reason = split.hold_out(whole.listing, settings.holdout_fraction, settings.seed)
    if reason:
        return Data(whole, None, reason)
    return _with_sets(whole.of_identities(~chosen), whole.of_identities(chosen), settings)


def _with_sets(train: Dataset, held_out: Dataset, settings: Settings) -> Data:
    return Data(train, held_out, sets=(of_identities("held_out", held_out, settings.seed),))
