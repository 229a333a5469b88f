"""The deletion list in the inputs bucket: read, and added to such that two who add at once lose nothing."""

from typing import Any

from botocore.exceptions import ClientError

from facetrain.client import code, is_missing
from facetrain.errors import OperationError
from training.jobs import contract
from training.jobs.forgotten import Forgotten, ForgottenError

_TRIES = 20
_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}
_DELETED = "x-amz-delete-marker"  # S3's header where a key has versions and none is current
_NO_CONDITIONS = {"NotImplemented"}  # other stores than S3


def read(s3: Any, bucket: str) -> tuple[Forgotten | None, str]:
    """The list and its ETag; None where there is none yet.

    Raises OperationError where it cannot be read, or somebody has deleted it.
    """
    try:
        answer = s3.get_object(Bucket=bucket, Key=contract.FORGOTTEN_KEY)
    except ClientError as error:
        if not is_missing(error):
            raise
        if error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get(_DELETED) == "true":
            raise OperationError(
                f"s3://{bucket}/{contract.FORGOTTEN_KEY} was deleted: put an older version of it back, for "
                "without the list nobody can say who is to be left out"
            ) from None
        return None, ""
    try:
        return Forgotten.parse(answer["Body"].read()), answer["ETag"]
    except ForgottenError as error:
        raise OperationError(f"s3://{bucket}/{error}") from None


def add(s3: Any, bucket: str, identity: str, dataset: str, day: str) -> Forgotten:
    """Adds the identity, and gives the list as it is then. day: YYYY-MM-DD.

    Raises OperationError where others write it all the time.
    """
    for _ in range(_TRIES):
        found, etag = read(s3, bucket)
        before = found or Forgotten.fresh()
        after = before.with_(before.digest(identity, dataset), day)
        if after == found or _put(s3, bucket, after, {"IfMatch": etag} if found else {"IfNoneMatch": "*"}):
            return after
    raise OperationError(f"s3://{bucket}/{contract.FORGOTTEN_KEY} changes all the time: run it again")


def _put(s3: Any, bucket: str, after: Forgotten, condition: dict[str, str]) -> bool:
    """Whether the list was still as it had been read."""
    put = {
        "Bucket": bucket,
        "Key": contract.FORGOTTEN_KEY,
        "Body": after.to_json().encode(),
        "ContentType": "application/json",
    }
    try:
        s3.put_object(**put, **condition)
    except ClientError as error:
        if code(error) in _CHANGED:
            return False
        if code(error) not in _NO_CONDITIONS:
            raise
        s3.put_object(**put)
    return True
