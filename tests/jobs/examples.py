"""Manifests and deployments that the tests of training.jobs share."""

import json
from typing import Any

from training.jobs.manifest import Manifest, ManifestError, parse
from training.jobs.platform import Platform
from training.jobs.problems import Problem
from training.jobs.uri import S3Uri

PLATFORM = Platform.example()
NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC
LOCATION = S3Uri(PLATFORM.inputs_bucket, "inputs/staff/manifest.json")
SMALLEST: dict[str, Any] = {"schema": 1, "algorithm": "arcface", "channels": {"images": "images/"}}


def parsed(
    document: dict[str, Any], location: S3Uri = LOCATION, platform: Platform = PLATFORM, now: float = NOW
) -> Manifest:
    return parse(json.dumps(document), location, platform, now)


def problems_of(
    document: Any, location: S3Uri = LOCATION, platform: Platform = PLATFORM, now: float = NOW
) -> list[Problem]:
    data = document if isinstance(document, bytes | str) else json.dumps(document)
    try:
        parse(data, location, platform, now)
    except ManifestError as error:
        return list(error.problems)
    return []
