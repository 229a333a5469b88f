"""What kind of image bytes are, told by how they begin; nothing is decoded."""

import re

from training.formats.errors import UnreadableError

_SIGNATURES = (
    (".jpg", re.compile(rb"\xff\xd8\xff")),
    (".png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    (".gif", re.compile(rb"GIF8[79]a")),
    (".webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    (".bmp", re.compile(rb"BM")),
    (".tif", re.compile(rb"II[*+]\0|MM\0[*+]")),
    (".pnm", re.compile(rb"P[1-7fF]\s")),
    (".jp2", re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51")),
    (".avif", re.compile(rb"....ftypavi[fs]", re.DOTALL)),
    (".heic", re.compile(rb"....ftyp(?:hei|hev|mif1|msf1)", re.DOTALL)),
)
_NO_SIGNATURE = (".tga",)  # TGA begins with anything


def suffix_of(data: bytes) -> str | None:
    """`.jpg`, `.png`, …; None where the bytes begin as no image does."""
    return next((suffix for suffix, signature in _SIGNATURES if signature.match(data)), None)


def image_suffix(data: bytes, suffix: str) -> str:
    """The suffix to write them under: their own (small letters) where they have one, else what they begin as.

    Raises UnreadableError where they are no image.
    """
    if not data:
        raise UnreadableError("is empty")
    begins_as = suffix_of(data)
    if begins_as is None and suffix not in _NO_SIGNATURE:
        raise UnreadableError("begins as no image does")
    return suffix or begins_as or ""
