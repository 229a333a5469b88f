"""The same bytes under other names: in another dataset, under another identity, or among the outputs."""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from facetrain.forgetting.places import COPY, PICTURE, Found, Place, body
from facetrain.forgetting.versions import Version, by_key
from training.formats.files import is_image
from training.jobs import contract

_AT_ONCE = 8
_DATA = (contract.INPUTS_PREFIX, contract.OUTPUTS_PREFIX, contract.CHECKPOINTS_PREFIX)


def copies(s3: Any, buckets: Iterable[str], found: Found) -> list[Place]:
    """Objects of the size and SHA-256 of one of the person's pictures. Only those of a size are looked at."""
    known = {(version.bucket, version.key, version.id) for place in found.places for version in place.chosen}
    theirs = [
        version
        for place in found.of(PICTURE)
        for version in place.chosen
        if is_image(version.key) and version.size
    ]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        digests = found.pictures | {
            (version.size, digest)
            for version, digest in zip(theirs, pool.map(lambda one: _sha256(s3, one), theirs), strict=True)
        }
        sizes = {size for size, _ in digests}

        def chosen_of(versions: list[Version]) -> list[Version]:
            return [
                version
                for version in versions
                if version.size in sizes
                and (version.bucket, version.key, version.id) not in known
                and not version.marker
                and (version.size, _sha256(s3, version)) in digests
            ]

        return [
            Place(COPY, _dataset(versions[0].key), tuple(versions), tuple(chosen))
            for some in _some(s3, buckets, sizes)
            for versions, chosen in zip(some, pool.map(chosen_of, some), strict=True)
            if chosen
        ]


def _some(s3: Any, buckets: Iterable[str], sizes: set[int]) -> Iterator[list[list[Version]]]:
    """The objects that have a version of one of the sizes, a few hundred at a time."""
    some: list[list[Version]] = []
    for bucket in buckets if sizes else ():
        for versions in by_key(s3, bucket, ""):
            if any(version.size in sizes for version in versions):
                some.append(versions)
            if len(some) == 256:
                yield some
                some = []
    yield some


def _sha256(s3: Any, version: Version) -> str:
    """As S3 verified it on the object's arrival, or else of the bytes. An ETag is no digest under KMS."""
    head = s3.head_object(
        Bucket=version.bucket, Key=version.key, VersionId=version.id, ChecksumMode="ENABLED"
    )
    told = head.get("ChecksumSHA256", "-")
    if "-" not in told:  # else of the parts of an upload
        return base64.b64decode(told).hex()
    digest, stream = hashlib.sha256(), body(s3, version)
    while block := stream.read(2**20):
        digest.update(block)
    return digest.hexdigest()


def _dataset(key: str) -> str:
    """`staff` of inputs/staff/… and outputs/staff/…; the top folder of anything else."""
    first, _, rest = key.partition("/")
    return rest.partition("/")[0] if key.startswith(_DATA) else first
