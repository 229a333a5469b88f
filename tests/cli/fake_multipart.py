"""S3's multipart uploads, as much as the client uses: begun, listed, completed with checksums, aborted."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

INITIATED = "2026-11-22T10:00:{:02}.000Z"


@dataclass
class Part:
    data: bytes
    checksum: str

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data).hexdigest()}"'


@dataclass
class Upload:
    key: str
    parts: dict[int, Part] = field(default_factory=dict)


@dataclass
class Multipart:
    """Uploads by their ids; `sent` has the number of every part that arrived, in their order."""

    uploads: dict[str, Upload] = field(default_factory=dict)
    sent: list[tuple[str, int]] = field(default_factory=list)
    begun: int = 0

    def begin(self, bucket: str, key: str) -> str:
        self.begun += 1
        name = f"upload-{self.begun}"
        self.uploads[name] = Upload(key)
        return (
            f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(key)}</Key>"
            f"<UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
        )

    def put(self, name: str, number: int, data: bytes) -> str:
        part = Part(data, checksum_of(data))
        self.uploads[name].parts[number] = part
        self.sent.append((name, number))
        return part.etag

    def list_uploads(self, prefix: str) -> str:
        uploads = "".join(
            f"<Upload><Key>{escape(upload.key)}</Key><UploadId>{name}</UploadId>"
            f"<Initiated>{INITIATED.format(number)}</Initiated></Upload>"
            for number, (name, upload) in enumerate(self.uploads.items())
            if upload.key.startswith(prefix)
        )
        whole = f"{uploads}<IsTruncated>false</IsTruncated>"
        return f"<ListMultipartUploadsResult>{whole}</ListMultipartUploadsResult>"

    def list_parts(self, name: str) -> str:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(part.etag)}</ETag>"
            f"<Size>{len(part.data)}</Size><ChecksumSHA256>{part.checksum}</ChecksumSHA256></Part>"
            for number, part in sorted(self.uploads[name].parts.items())
        )
        return f"<ListPartsResult>{parts}<IsTruncated>false</IsTruncated></ListPartsResult>"

    def complete(self, name: str, body: str) -> tuple[bytes, str]:
        """The object, and its checksum, of the parts that the request names by number, ETag and checksum."""
        upload = self.uploads.pop(name)
        named = re.findall(r"<Part>(.*?)</Part>", body, re.DOTALL)
        parts = []
        for one in named:
            tag = dict(re.findall(r"<(\w+)>(.*?)</\1>", one))
            part = upload.parts[int(tag["PartNumber"])]
            assert tag["ETag"].replace("&quot;", '"') == part.etag
            assert tag["ChecksumSHA256"] == part.checksum
            parts.append(part)
        digests = b"".join(base64.b64decode(part.checksum) for part in parts)
        return b"".join(part.data for part in parts), f"{checksum_of(digests)}-{len(parts)}"


def checksum_of(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()
