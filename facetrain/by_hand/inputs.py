"""An inputs folder: input/data/{cfg,weights}/, as it would lie below /opt/ml, and results/ beside them."""

from typing import TYPE_CHECKING

from training.jobs.uri import S3Uri

if TYPE_CHECKING:
    from facetrain.storage import Store  # boto3 takes long, and only who has a client needs it

IN_INPUTS = ("cfg", "weights")
RESULTS = "results/"
README = "README.md"  # says what goes into a folder, and is nothing for the trainer


def channel(inputs: S3Uri, name: str) -> S3Uri:
    return inputs.join(f"input/data/{name}/")


def channels_in(inputs: S3Uri, store: "Store") -> dict[str, S3Uri]:
    """The channels that the inputs folder holds."""
    found = {name: channel(inputs, name) for name in IN_INPUTS}
    return {name: folder for name, folder in found.items() if _has_data(folder, store)}


def _has_data(folder: S3Uri, store: "Store") -> bool:
    return any(size and not key.endswith(f"/{README}") for key, size in store.sizes(folder))
