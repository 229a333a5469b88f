"""The record that a person was forgotten: who did what and when, without a name and without any key."""

import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from facetrain.forgetting.removal import UNREAD, Left

PREFIX = "governance/audit/"  # in the inputs bucket, apart: inputs/ may expire
SCHEMA = 1


def left_of(left: Sequence[Left]) -> list[dict[str, Any]]:
    """What could not be done, counted by dataset, kind and reason: keys may hold names.

    What a reader says of a file that it cannot read names the file.
    """
    counts = Counter(
        (one.dataset, one.kind, "cannot be read" if one.kind == UNREAD else one.why) for one in left
    )
    return [
        {"dataset": dataset, "kind": kind, "objects": count, "why": why}
        for (dataset, kind, why), count in sorted(counts.items())
    ]


def new_key(now: datetime) -> str:
    return f"{PREFIX}{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}.json"


def write(s3: Any, bucket: str, key: str, now: datetime, record: Mapping[str, Any]) -> None:
    """Writes the record, or what is known of it by now."""
    document = {"schema": SCHEMA, "at": now.astimezone(UTC).isoformat(timespec="seconds"), **record}
    s3.put_object(
        Bucket=bucket,
        Key=key,
        Body=(json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode(),
        ContentType="application/json",
        ChecksumAlgorithm="SHA256",
    )
