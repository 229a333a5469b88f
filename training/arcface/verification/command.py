"""`python -m training.arcface.verification MODEL SET`: the figures of any model on any set, as JSON."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from training.arcface.data.store import Dataset, Decoding, open_and_tell
from training.arcface.distributed import World
from training.arcface.verification.discover import BIN, LISTS, Finder
from training.arcface.verification.evaluate import evaluate
from training.arcface.verification.models import load
from training.arcface.verification.sets import EvaluationSet, of_bin
from training.container.errors import TrainingError
from training.formats.errors import DataError
from training.formats.listing import Listing

MODEL, SET = "MODEL", "SET"
REFUSED = 2


class RefusedError(TrainingError):
    """What the user can mend, and in which argument."""

    def __init__(self, place: str, message: str):
        super().__init__(message)
        self.place = place


@contextmanager
def _refusing(place: str) -> Iterator[None]:
    """Says of a DataError which argument it is about: a job has channels, here there are two."""
    try:
        yield
    except DataError as error:
        sentence = str(error)
        for channel in (f"channels.{SET}: ", "channels.validation: "):
            sentence = sentence.removeprefix(channel)
        raise RefusedError(place, sentence) from None


def verify(
    model: Path,
    chosen: Path,
    images: Path | None,
    *,
    max_unreadable: float,
    scratch: Path,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Raises RefusedError where the model or the set cannot be used.

    chosen: a .bin, a list of pairs (of the images below `images`, or below its own folder), or a folder of
    identities or sets. scratch: a folder for decoded images.
    """
    world = World()
    with _refusing(MODEL):
        loaded = load(model, world.device)
    log(f"model {loaded.name} network={loaded.kind} device={world.device}")
    decoding = Decoding(scratch, max_unreadable=max_unreadable)

    def opened(listing: Listing, channel: str) -> Dataset:
        return open_and_tell(listing, world, decoding, channel, log)[0]

    with _refusing(SET):
        sets = _sets(chosen, images, Finder(opened, 0, max_unreadable, decoding.threads, log))
        figures = evaluate(loaded.embed, sets, world, log).figures
    return {"model": str(model), "network": loaded.kind, "set": str(chosen), **figures}


def _sets(chosen: Path, images: Path | None, finder: Finder) -> Sequence[EvaluationSet]:
    if chosen.is_dir():
        return finder.find(chosen, SET).sets
    suffix = chosen.suffix.lower()
    if not chosen.is_file() or suffix not in (BIN, *LISTS):
        what = "is neither a .bin nor a list of pairs" if chosen.exists() else "does not exist"
        raise TrainingError(f"{chosen} {what}: name a .bin, pairs.txt, pairs.csv or a folder")
    if suffix == BIN:
        return (of_bin(chosen.stem, chosen, finder.threads),)
    return (finder.of_list(chosen, images or chosen.parent, chosen.stem, SET)[0],)


def main(arguments: Sequence[str]) -> int:
    """JSON on stdout: the figures, or {"error": {path, message}}. Gives 0, or 2 for the latter."""
    parser = argparse.ArgumentParser(prog="python -m training.arcface.verification", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("set", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--max-unreadable", type=float, default=0.1)
    given = parser.parse_args(arguments)
    with TemporaryDirectory() as scratch:
        try:
            found = verify(
                given.model,
                given.set,
                given.images,
                max_unreadable=given.max_unreadable,
                scratch=Path(scratch),
                log=lambda line: print(line, file=sys.stderr, flush=True),
            )
        except RefusedError as error:
            found = {"error": {"path": error.place, "message": str(error)}}
    print(json.dumps(found, allow_nan=False), flush=True)
    return REFUSED if "error" in found else 0
