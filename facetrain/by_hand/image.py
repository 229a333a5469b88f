"""Which image a job runs: the one that build-and-push.sh wrote down, or the one that --image names."""

import re
from pathlib import Path

from facetrain.errors import InputError
from facetrain.image import URI_FILE

FILE = Path(__file__).resolve().parents[2] / URI_FILE
_DIGEST = re.compile(r"\S+/\S+@sha256:[0-9a-f]{64}")
_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<name>[^:@]+)"
)


def image_of(given: str | None, command: str) -> str:
    """The image's address. Raises InputError where the file is missing or holds no immutable one.

    command: what pushes such an image.
    """
    push = f"run {command}, which writes it"
    if given is not None:
        return given
    try:
        text = FILE.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise InputError.because(FILE.name, f"is not there: {push}, or name an image with --image") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError.because(FILE.name, f"cannot be read ({error}): {push}") from None
    if not _DIGEST.fullmatch(text):
        raise InputError.because(
            FILE.name, f'"{text[:80]}" is no immutable address (…/NAME@sha256:…): {push} anew'
        )
    return text


def region_of(image: str) -> str | None:
    """The region of an image in ECR; None elsewhere."""
    match = _ECR.match(image)
    return match["region"] if match else None


def repository_of(image: str) -> str:
    """`face-training` of `<account>.dkr.ecr.<region>.amazonaws.com/face-training@sha256:…`."""
    match = _ECR.match(image)
    return match["name"] if match else re.split(r"[:@]", image.partition("/")[2])[0]
