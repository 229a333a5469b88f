"""Files that mxnet 1.9.1 wrote with `recordio.MXIndexedRecordIO` and `MXRecordIO`, and what it read of them.

H = recordio.IRHeader(flag, label, id, id2); a line is `write_idx(key, recordio.pack(H, data))`. Several
labels make a flag of their number. The library parts data where it holds the magic number at a
multiple of four bytes.
"""

import base64
import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = struct.pack("<I", 0xCED7230A)


@dataclass(frozen=True)
class Written:
    """A .rec in base64, its .idx, and of each image its key, its label and its bytes, by key."""

    rec: str
    idx: str | None
    images: tuple[tuple[int, str, bytes], ...]

    def put(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        (folder / "train.rec").write_bytes(base64.b64decode(self.rec))
        if self.idx is not None:
            (folder / "train.idx").write_text(self.idx)
        return folder


# 0: H(2, [5, 7]), b"" · 1: H(0, 0), … · 2: H(0, [0.0, 0.25]), … · 3: H(0, 7), … · 4: H(0, 7), … ·
# 5: H(2, [1, 3]), b"" · 6: H(2, [3, 5]), b"", as InsightFace's own script does for two identities
FACES = Written(
    "CiPXziAAAAACAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAKBAAADgQAoj184dAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAcGxh"
    "aW4AAAAKI9fOKgAAAAIAAAAAAAAAAgAAAAAAAAAAAAAAAAAAAAAAAAAAAIA+dHdvIGxhYmVscwAACiPXzhgAACAAAAAAAADgQAMA"
    "AAAAAAAAAAAAAAAAAAAKI9fOAAAAQAoj184MAABAc3BsaXQgdGhyaWNlCiPXzgMAAGBlbmQACiPXzigAAAAAAAAAAADgQAQAAAAA"
    "AAAAAAAAAAAAAABhCiPXzm5vdCBhbGlnbmVkCiPXziAAAAACAAAAAAAAAAUAAAAAAAAAAAAAAAAAAAAAAIA/AABAQAoj184gAAAA"
    "AgAAAAAAAAAGAAAAAAAAAAAAAAAAAAAAAABAQAAAoEA=",
    "0\t0\n1\t40\n2\t80\n3\t132\n4\t204\n5\t252\n6\t292\n",
    (
        (1, "0", b"plain"),
        (2, "0", b"two labels"),
        (3, "7", MAGIC * 2 + b"split thrice" + MAGIC + b"end"),
        (4, "7", b"a" + MAGIC + b"not aligned"),
    ),
)

# Keys 2, 0 and 1 in this order: H(0, key % 2), b"image <key>"
UNSORTED = Written(
    "CiPXzh8AAAAAAAAAAAAAAAIAAAAAAAAAAAAAAAAAAABpbWFnZSAyAAoj184fAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAaW1h"
    "Z2UgMAAKI9fOHwAAAAAAAAAAAIA/AQAAAAAAAAAAAAAAAAAAAGltYWdlIDEA",
    "2\t0\n0\t40\n1\t80\n",
    ((0, "0", b"image 0"), (1, "1", b"image 1"), (2, "0", b"image 2")),
)

# MXRecordIO, which writes no .idx: H(0, key / 2, key), and the key's digit key + 1 times
WITHOUT_INDEX = Written(
    "CiPXzhkAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAwAAAACiPXzhoAAAAAAAAAAAAAPwEAAAAAAAAAAAAAAAAAAAAxMQAACiPX"
    "zhsAAAAAAAAAAACAPwIAAAAAAAAAAAAAAAAAAAAyMjIA",
    None,
    ((0, "0", b"0"), (1, "0.5", b"11"), (2, "1", b"222")),
)
