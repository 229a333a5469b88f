"""What the function is asked to do, read from the three forms in which it is asked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from training.jobs.manifest import check_location
from training.jobs.platform import Platform
from training.jobs.problems import Problem, ProblemsError, did_you_mean
from training.jobs.uri import S3Uri

FORMS = """an event must be one of
  {"Records": [...]}, a batch of the launch queue's messages
  {"manifest": "s3://<inputs bucket>/inputs/<dataset>/manifest.json"}, "version_id" or "overrides" too
  {"reconcile": true}"""
BY_HAND = ("manifest", "version_id", "overrides")
OBJECT_CREATED = "Object Created"


class UnknownEventError(ValueError):
    """The event has none of the forms that the function knows."""


class EventError(ProblemsError):
    """An invocation by hand has the right form and a wrong value."""


@dataclass(frozen=True)
class Submission:
    """One drop of a manifest that shall become a job.

    version_id, etag: which drop; the newest one where neither is given. overrides: of an invocation by hand.
    first_seen (seconds since 1970), attempt: how long it has waited for capacity, and how often.
    """

    location: S3Uri
    version_id: str | None = None
    etag: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    first_seen: float | None = None
    attempt: int = 0

    def message(self) -> dict[str, Any]:
        """As it travels in the queue; `from_message` reads it."""
        return {
            "manifest": str(self.location),
            "version_id": self.version_id,
            "etag": self.etag,
            "overrides": dict(self.overrides),
            "first_seen": self.first_seen,
            "attempt": self.attempt,
        }


@dataclass(frozen=True)
class Sweep:
    """One page of the comparison of manifests with jobs: the folders below `folder`, from `token` on."""

    folder: str | None = None
    token: str | None = None

    def message(self) -> dict[str, Any]:
        return {"reconcile": True, "folder": self.folder, "token": self.token}


def by_hand(event: Mapping[str, Any], platform: Platform) -> Submission:
    """A direct invocation. Raises EventError with every problem."""
    problems = [
        Problem(key, f"unknown key{did_you_mean(key, BY_HAND)}") for key in event if key not in BY_HAND
    ]
    version_id, overrides = event.get("version_id"), event.get("overrides", {})
    if version_id is not None and not (isinstance(version_id, str) and version_id):
        problems.append(Problem("version_id", "must be a version id of the manifest, as S3 gives it"))
    if not isinstance(overrides, dict):
        problems.append(Problem("overrides", 'must be an object: {"hyperparameters": {…}, "resources": {…}}'))
    try:
        location = _manifest_address(event["manifest"], platform)
    except ValueError as error:
        problems.append(Problem("manifest", str(error)))
    if problems:
        raise EventError(problems)
    # An empty section overrides nothing, so it must not make another job name.
    return Submission(
        location, version_id, overrides={key: value for key, value in overrides.items() if value}
    )


def _manifest_address(value: Any, platform: Platform) -> S3Uri:
    """Raises ValueError: nothing outside the deployment's inputs is read, whatever the caller asks."""
    if not isinstance(value, str):
        raise ValueError("must be an address such as s3://bucket/inputs/staff/manifest.json")
    uri = S3Uri.parse(value)
    check_location(uri, platform)
    return uri


def from_record(record: Mapping[str, Any]) -> Submission | Sweep:
    """A message of the launch queue. Raises UnknownEventError where it is none of ours."""
    try:
        message = json.loads(record["body"])
        sent = int(record["attributes"]["SentTimestamp"]) / 1000
        if message.get("reconcile") is True:
            return from_schedule(message)
        submission = _from_message(message) if "manifest" in message else _from_object_created(message)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnknownEventError(f"the message cannot be read ({type(error).__name__}: {error})") from error
    return submission if submission.first_seen else replace(submission, first_seen=sent)


def from_schedule(event: Mapping[str, Any]) -> Sweep:
    return Sweep(event.get("folder"), event.get("token"))


def _from_message(message: Mapping[str, Any]) -> Submission:
    return Submission(
        location=S3Uri.parse(message["manifest"]),
        version_id=message.get("version_id"),
        etag=message.get("etag"),
        overrides=message.get("overrides") or {},
        first_seen=message.get("first_seen"),
        attempt=int(message.get("attempt", 0)),
    )


def _from_object_created(event: Mapping[str, Any]) -> Submission:
    """S3's event as EventBridge carries it; the key is not URL-encoded there, unlike in S3's own messages."""
    if event["detail-type"] != OBJECT_CREATED:
        raise UnknownEventError(f'"{event["detail-type"]}" is not "{OBJECT_CREATED}"')
    detail = event["detail"]
    found = detail["object"]
    return Submission(S3Uri(detail["bucket"]["name"], found["key"]), found.get("version-id"), found["etag"])
