"""manifest.json, which starts training: read, checked and made absolute. Every problem is found at once."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from training.jobs import config, contract, governance
from training.jobs.algorithms import ALGORITHMS, Algorithm
from training.jobs.platform import Platform
from training.jobs.problems import Problem, ProblemsError, did_you_mean, nearest, shown
from training.jobs.resources import Resources, resources_of
from training.jobs.uri import S3Uri

SCHEMA_VERSION = 1
KEYS = (
    *("schema", "algorithm", "channels", "input_mode", "hyperparameters", "resources", "governance"),
    "$schema",
)
OVERRIDABLE = ("hyperparameters", "resources")


class ManifestError(ProblemsError):
    """The manifest cannot start a job; `problems` says everything that is wrong with it."""


@dataclass(frozen=True)
class Manifest:
    """A manifest that is right: channels absolute, resources complete, hyperparameters only those named."""

    location: S3Uri  # of a job that is started by hand, without a manifest: a folder
    dataset: str
    algorithm: str
    channels: Mapping[str, S3Uri]
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    governance: Mapping[str, str] = field(default_factory=dict)
    input_mode: str = contract.FILE_MODE  # of the channels that hold the data


def parse(
    data: bytes | str,
    location: S3Uri,
    platform: Platform,
    now: float,
    overrides: Mapping[str, Any] | None = None,
) -> Manifest:
    """The manifest that `data` holds, dropped at `location`. Raises ManifestError with every problem.

    now (seconds since 1970): against which `governance.expires_at` is held; the job's time ends there, too.
    overrides: `hyperparameters` and `resources` of a direct invocation, which rank above the manifest's own.
    """
    problems: list[Problem] = []
    document = _with_overrides(decode(data), overrides or {}, problems)
    try:
        check_location(location, platform)
    except ValueError as error:
        problems.append(Problem("$", str(error)))
    problems += [Problem(key, f"unknown key{did_you_mean(key, KEYS)}") for key in document if key not in KEYS]
    problems += _schema_problems(document)
    algorithm = _algorithm(document, platform, problems)
    manifest = Manifest(
        location,
        dataset_of(location),
        algorithm.name,
        _channels(document, location, platform, algorithm, problems),
        _hyperparameters(document, algorithm, problems),
        _resources(document, platform, algorithm, problems),
        _governance(document, platform, now, problems),
        _input_mode(document, problems),
    )
    if problems:
        raise ManifestError(problems)
    return replace(manifest, resources=governance.within_basis(manifest.resources, manifest.governance, now))


def decode(data: bytes | str) -> dict[str, Any]:
    """The JSON object in `data`. Raises ManifestError where it is too large, no UTF-8 or no JSON object."""
    if len(data) > contract.MANIFEST_BYTES_LIMIT:
        raise _whole(
            f"is larger than {contract.MANIFEST_BYTES_LIMIT // 1024} KiB: list data in channels, not here"
        )
    try:
        text = data.removeprefix("\ufeff") if isinstance(data, str) else data.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _whole("holds half a character, such as \\ud800: write it whole") from None
    except UnicodeDecodeError as error:
        raise _whole(f"is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise _whole(f"is not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    except RecursionError:
        raise _whole("is nested too deeply") from None
    except ValueError as error:
        raise _whole(str(error)) from None
    if not isinstance(value, dict):
        raise _whole('must hold one object: {"schema": 1, "algorithm": …, "channels": {"images": …}}')
    return value


def check_location(location: S3Uri, platform: Platform) -> None:
    """Raises ValueError where no manifest of this deployment can lie: nothing outside its inputs is read."""
    inputs = location.bucket == platform.inputs_bucket and location.key.startswith(contract.INPUTS_PREFIX)
    named = location.name == contract.MANIFEST_NAME and not location.is_folder
    if not (inputs and named and _DATASET.fullmatch(dataset_of(location))):
        wanted = f"s3://{platform.inputs_bucket}/{contract.INPUTS_PREFIX}<dataset>/{contract.MANIFEST_NAME}"
        raise ValueError(f"lies at {location}, but manifests of this deployment lie at {wanted}")


def dataset_of(location: S3Uri) -> str:
    """`staff` of `inputs/staff/manifest.json`; `team/staff` of `inputs/team/staff/manifest.json`."""
    folder = location.folder.key.strip("/")
    return folder.removeprefix(contract.INPUTS_PREFIX) if folder != contract.INPUTS_PREFIX.strip("/") else ""


def check_channels(
    manifest: Manifest,
    exists: Callable[[S3Uri], bool],
    names_in: Callable[[S3Uri], Iterable[str]],
    remedy: str = "upload the data, then the manifest again",
) -> list[Problem]:
    """A problem for each channel that holds nothing.

    exists: whether an object has this key, or any object with content lies in this folder.
    names_in: the names directly in a folder (folders end with `/`), for the hint.
    """
    problems = []
    for name, uri in manifest.channels.items():
        if exists(uri):
            continue
        parent = uri.folder if not uri.is_folder else S3Uri(uri.bucket, uri.key.rstrip("/")).folder
        siblings = [other for other in names_in(parent) if other not in _OWN_NAMES]
        what = f'"{uri.name}/" holds no objects' if uri.is_folder else f'there is no object "{uri.name}"'
        hint = did_you_mean(uri.name, siblings) or f": {remedy}"
        problems.append(Problem(f"channels.{name}", f"{what} in {parent}{hint}"))
    return problems


_OWN_NAMES = (contract.MANIFEST_NAME, contract.REJECTION_NAME)
_DATASET = re.compile(r"[^/\x00-\x1f]+(/[^/\x00-\x1f]+)*")


def _whole(message: str) -> ManifestError:
    return ManifestError([Problem("$", message)])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'names "{twice}" twice in one object: keep one of them')
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"holds {name}, which JSON does not have: write a number")


def _with_overrides(
    document: dict[str, Any], overrides: Mapping[str, Any], problems: list[Problem]
) -> dict[str, Any]:
    merged = dict(document)
    for section, values in overrides.items():
        if section not in OVERRIDABLE or not isinstance(values, dict):
            message = f"must be an object, and named {' or '.join(OVERRIDABLE)}"
            problems.append(Problem(f"overrides.{section}", message))
        elif isinstance(merged.get(section, {}), dict):
            merged[section] = merged.get(section, {}) | values
    return merged


def _schema_problems(document: Mapping[str, Any]) -> Iterable[Problem]:
    version = document.get("schema")
    if version is None:
        yield Problem("schema", f'is missing: add "schema": {SCHEMA_VERSION}')
    elif version != SCHEMA_VERSION or isinstance(version, bool):
        yield Problem(
            "schema", f"{shown(version)} is not known: this version of facetrain reads {SCHEMA_VERSION}"
        )


def _algorithm(document: Mapping[str, Any], platform: Platform, problems: list[Problem]) -> Algorithm:
    """The algorithm named; where that is unknown the likeliest, so that the other keys are checked too."""
    name = document.get("algorithm")
    likeliest = ALGORITHMS[nearest(str(name), ALGORITHMS) or next(iter(ALGORITHMS))]
    if name is None:
        problems.append(Problem("algorithm", f'is missing: add "algorithm": "{likeliest.name}"'))
    elif name != likeliest.name:
        problems.append(
            Problem("algorithm", f"{shown(name)} is not known{did_you_mean(str(name), ALGORITHMS)}")
        )
    elif name not in platform.images:
        problems.append(Problem("algorithm", f'this deployment has no image for "{name}": deploy it first'))
    return likeliest


def _section(document: Mapping[str, Any], name: str, problems: list[Problem]) -> dict[str, Any]:
    value = document.get(name, {})
    if isinstance(value, dict):
        return value
    problems.append(Problem(name, f"{shown(value)} is not an object: write {{…}}"))
    return {}


def _channels(
    document: Mapping[str, Any],
    location: S3Uri,
    platform: Platform,
    algorithm: Algorithm,
    problems: list[Problem],
) -> dict[str, S3Uri]:
    section = _section(document, "channels", problems)
    for name in algorithm.required_channels:
        if name not in section and isinstance(document.get("channels", {}), dict):
            problems.append(Problem(f"channels.{name}", f'is missing: add "{name}": "{name}/"'))
    channels = {}
    for name, value in section.items():
        if name not in algorithm.channels:
            problems.append(
                Problem(f"channels.{name}", f"unknown channel{did_you_mean(name, algorithm.channels)}")
            )
            continue
        try:
            channels[name] = _channel(value, location, platform)
        except ValueError as error:
            problems.append(Problem(f"channels.{name}", str(error)))
    return channels


def _channel(value: Any, location: S3Uri, platform: Platform) -> S3Uri:
    if not isinstance(value, str):
        raise ValueError(f'{shown(value)} is not a path: write a string such as "images/"')
    path = value.removeprefix("./")
    if not path:
        raise ValueError(f'"{value}" is empty: name a folder or file beside the manifest, such as "images/"')
    if "://" not in path:
        return S3Uri.parse(str(location.join(as_folder(path))))  # for the length that S3 takes
    uri = S3Uri.parse(as_folder(path))
    allowed = (platform.inputs_bucket, *platform.allowed_buckets)
    if uri.bucket not in allowed:
        raise ValueError(
            f'"{value}" is in a bucket that this deployment does not allow (allowed: {", ".join(allowed)}): '
            "copy the data there, or add the bucket to allowed_buckets and deploy again"
        )
    if uri.bucket == platform.inputs_bucket and not uri.key.startswith(contract.INPUTS_PREFIX):
        raise ValueError(
            f'"{value}" is not below {contract.INPUTS_PREFIX}, the only part of this bucket jobs may read'
        )
    return uri


def as_folder(path: str) -> str:
    """A last part without a dot names a folder: as a bare prefix it would also match `images-old/`."""
    return path if path.endswith("/") or "." in path.rpartition("/")[2] else path + "/"


def _hyperparameters(
    document: Mapping[str, Any], algorithm: Algorithm, problems: list[Problem]
) -> dict[str, Any]:
    section = _section(document, "hyperparameters", problems)
    good, found = config.check(algorithm, section, "hyperparameters", typed=True)
    problems += found
    return good


def _resources(
    document: Mapping[str, Any], platform: Platform, algorithm: Algorithm, problems: list[Problem]
) -> Resources:
    resources, found = resources_of(_section(document, "resources", problems), platform.defaults)
    problems += found + check_machines(algorithm, resources)
    return resources


def check_machines(algorithm: Algorithm, resources: Resources) -> list[Problem]:
    """A problem where the algorithm trains on one machine, and has several."""
    if not algorithm.one_machine or resources.instance_count == 1:
        return []
    return [Problem("resources.instance_count", f"{algorithm.name} trains on one machine: write 1")]


def _input_mode(document: Mapping[str, Any], problems: list[Problem]) -> str:
    mode = document.get("input_mode", contract.FILE_MODE)
    problems += check_input_mode(mode)
    return str(mode)


def check_input_mode(mode: Any) -> list[Problem]:
    """A problem where jobs cannot be given their data so."""
    if mode in contract.INPUT_MODES:
        return []
    hint = did_you_mean(str(mode), contract.INPUT_MODES)
    return [Problem("input_mode", f"{shown(mode)} is not known{hint}")]


def _governance(
    document: Mapping[str, Any], platform: Platform, now: float, problems: list[Problem]
) -> dict[str, str]:
    section = _section(document, "governance", problems)
    problems += governance.check(section, platform.governance_required, now)
    return section
