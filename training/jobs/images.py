"""Which files count as images or hold many, on the user's machine and in the container."""

from collections.abc import Iterable

SHARD_SUFFIX = ".tar"
RECORD_SUFFIX = ".rec"
ARCHIVE_SUFFIXES = frozenset((".7z", ".bz2", ".gz", ".idx", ".rar", ".tgz", ".xz", ".zip", ".zst"))

# What Pillow may be able to read. HEIC is here so that phone pictures are reported as unreadable, not passed
# over.
IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm"),
        *("pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)


def without_images(files: Iterable[str]) -> str:
    """What to do with files among which there is no image, to be read after their number."""
    kinds = {dot + suffix.lower() for _, dot, suffix in (file.rpartition(".") for file in files)}
    if archives := sorted(ARCHIVE_SUFFIXES & kinds):
        return f" ({', '.join(archives)} files are not read: unpack them, or make plain .tar shards of them)"
    return ": it needs a folder of images for each identity"
