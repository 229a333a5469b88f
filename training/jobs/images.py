"""Which files count as images or hold many, on the user's machine and in the container."""

SHARD_SUFFIX = ".tar"
RECORD_SUFFIX = ".rec"

# What Pillow may be able to read. HEIC is here so that phone pictures are reported as unreadable, not passed
# over.
IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm"),
        *("pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)
