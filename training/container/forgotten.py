"""Who is not to be learnt from: the deletion list, which a job gets as a channel, against its identities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.container.errors import TrainingError
from training.formats.listing import Listing
from training.jobs.contract import FORGOTTEN_CHANNEL, FORGOTTEN_NAME
from training.jobs.forgotten import Forgotten, ForgottenError


@dataclass(frozen=True)
class DeletionList:
    """The list as it holds for one dataset; without one (`listed` is None) nobody is left out."""

    listed: Forgotten | None = None
    dataset: str = ""

    @classmethod
    def of_channel(cls, folder: Path, dataset: str) -> "DeletionList":
        """Raises TrainingError where the job has the channel and no list that can be read in it."""
        if not folder.exists():
            return cls()
        try:
            return cls(Forgotten.parse((folder / FORGOTTEN_NAME).read_bytes()), dataset)
        except (OSError, ForgottenError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise TrainingError(
                f"channels.{FORGOTTEN_CHANNEL}: {FORGOTTEN_NAME} cannot be read ({reason}): nobody is "
                "trained on where it is not known who is to be left out"
            ) from None

    def among(self, identities: Sequence[str]) -> NDArray[np.bool_]:
        """Which of the identities are on the list, (identities,)."""
        listed = self.listed
        if listed is None or not listed.entries:
            return np.zeros(len(identities), dtype=bool)
        return np.array([listed.holds(self.dataset, identity) for identity in identities], dtype=bool)

    def without(self, listing: Listing, channel: str, log: Callable[[str], None]) -> Listing:
        """The images of all others; the log hears how many go. Raises TrainingError where none stay.

        Where nothing says whose an image is, as in a table of pairs, the folders that it lies in do.
        """
        gone = self.among(listing.identities)[listing.labels]
        unnamed = np.flatnonzero([not identity for identity in listing.identities])
        for index in np.flatnonzero(np.isin(listing.labels, unnamed)):
            gone[index] = self.among(listing.files[index].split("/")[:-1]).any()
        if self.listed is not None:
            people = len(np.unique(listing.labels[gone]))
            log(f"forgotten channel={channel} identities={people} images={gone.sum()}")
        if gone.all():
            raise TrainingError(
                f"channels.{channel}: all {len(listing)} images are of people on the deletion list: "
                "add others, or delete the dataset"
            )
        return listing.keep(~gone) if gone.any() else listing
