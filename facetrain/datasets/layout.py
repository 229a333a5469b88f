"""Where a folder on this machine has its images, its table, and the people kept for verification."""

from dataclasses import dataclass
from pathlib import Path

from facetrain.errors import InputError
from training.jobs import contract, manifest

CELEBA_TABLE = "identity_CelebA.txt"


@dataclass(frozen=True)
class Layout:
    """labels: a table or a folder with one; without: folders in `images` that hold no images of it."""

    images: Path
    labels: Path | None = None
    validation: Path | None = None
    without: tuple[str, ...] = ()


def layout_of(directory: Path) -> Layout:
    """As `dataset push` takes it: channels by a manifest or by name, or else one folder per identity.

    Raises InputError where there is no such folder, or its manifest names another place for the images.
    """
    if not directory.is_dir():
        raise InputError.because(
            str(directory), "is no folder" if directory.exists() else "there is no such folder"
        )
    own = directory / contract.MANIFEST_NAME
    named = _channels(own) if own.is_file() else {}
    if named or (directory / "images").is_dir():
        images = _below(directory, named.get("images", "images/"))
        if images is None or not images.is_dir():
            raise InputError.because(
                str(own), f'channels.images: "{named.get("images")}" is no folder on this machine'
            )
        labels = _below(directory, named["labels"]) if "labels" in named else table_in(directory)
        labels = labels or table_in(images)
        return Layout(images, labels, _folder(_below(directory, named.get("validation", "validation/"))))
    others = tuple(name for name in contract.CHANNELS if name not in contract.REQUIRED_CHANNELS)
    return Layout(directory, table_in(directory), _folder(directory / "validation"), others)


def _channels(path: Path) -> dict[str, str]:
    """What a manifest says of where its channels are. Raises InputError, ManifestError."""
    try:
        found = manifest.decode(path.read_bytes()).get("channels", {})
    except OSError as error:
        raise InputError.because(str(path), f"cannot be read: {error.strerror}") from None
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _below(directory: Path, named: str) -> Path | None:
    """None for what is in S3, or outside the folder."""
    path = directory / named
    inside = path.resolve().is_relative_to(directory.resolve())
    return path if inside and "://" not in named else None


def table_in(directory: Path) -> Path | None:
    for name in ("labels", "labels.csv", "labels.tsv", "labels.txt", CELEBA_TABLE):
        if (directory / name).exists():
            return directory / name
    return None


def _folder(path: Path | None) -> Path | None:
    return path if path is not None and path.is_dir() else None
