"""S3 addresses as values."""

import re
from dataclasses import dataclass

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
KEY_BYTES_LIMIT = 1024


@dataclass(frozen=True, order=True)
class S3Uri:
    """`s3://bucket/key`. The key may be empty (the whole bucket) or end with `/` (a folder)."""

    bucket: str
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> "S3Uri":
        """Raises ValueError where `text` is no S3 address."""
        scheme, separator, rest = text.partition("://")
        if scheme != "s3" or not separator:
            raise ValueError(f'"{text}" is not an S3 address: write s3://bucket/key')
        bucket, _, key = rest.partition("/")
        if not _BUCKET.fullmatch(bucket) or ".." in bucket:
            raise ValueError(
                f'"{text}" names no valid bucket: 3 to 63 lower-case letters, digits, "-" and "."'
            )
        if len(key.encode()) > KEY_BYTES_LIMIT:
            raise ValueError(f'"{text[:60]}…" has a key of more than {KEY_BYTES_LIMIT} bytes')
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def is_folder(self) -> bool:
        return not self.key or self.key.endswith("/")

    @property
    def name(self) -> str:
        """The last part of the key, without a folder's slash."""
        return self.key.rstrip("/").rpartition("/")[2]

    @property
    def folder(self) -> "S3Uri":
        """The folder that holds this object; a folder holds itself."""
        return self if self.is_folder else S3Uri(self.bucket, self.key[: len(self.key) - len(self.name)])

    def join(self, relative: str) -> "S3Uri":
        """`relative` below this folder. Raises ValueError where it would leave the folder."""
        parts = relative.split("/")
        if relative.startswith("/") or any(part in {"..", "."} for part in parts) or "" in parts[:-1]:
            raise ValueError(
                f'"{relative}" leaves the manifest\'s folder or has empty parts: write a path below it'
            )
        return S3Uri(self.bucket, self.folder.key + relative)
