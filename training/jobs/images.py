"""Which files count as images, on the user's machine and in the container."""

# What Pillow may be able to read. HEIC is here so that phone pictures are reported as unreadable, not passed
# over.
IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm"),
        *("pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)
