"""ListTrainingJobs: filters, order and pages over the records. Pure.

A page begins after the (sort key, name) that its token holds, not at a number, so that jobs created between
two calls neither repeat nor hide others.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from facetrain.local.sagemaker.errors import ValidationError
from facetrain.local.sagemaker.states import Record

PAGE_DEFAULT = 10
_KEYS: Mapping[str, Callable[[Record], Any]] = {
    "Name": lambda record: record["TrainingJobName"],
    "CreationTime": lambda record: record["CreationTime"],
    "Status": lambda record: record["TrainingJobStatus"],
}


def list_jobs(records: Iterable[Record], query: Mapping[str, Any]) -> dict[str, Any]:
    """One page of TrainingJobSummaries, and NextToken where more follow.

    As the API reference says, StatusEquals filters a page after it was cut: a page may come back short, or
    empty, with a token. Its example also gives the order when none is asked for: newest first.
    """
    key = _KEYS[query.get("SortBy", "CreationTime")]
    descending = query.get("SortOrder", "Descending") == "Descending"

    def place(record: Record) -> tuple[Any, str]:
        return key(record), record["TrainingJobName"]

    chosen = sorted((r for r in records if _matches(r, query)), key=place, reverse=descending)
    if query.get("NextToken"):
        last = _decode(query["NextToken"], query)
        chosen = [r for r in chosen if (place(r) < last if descending else place(r) > last)]
    size = query.get("MaxResults", PAGE_DEFAULT)
    page, rest = chosen[:size], chosen[size:]
    status = query.get("StatusEquals")
    answer: dict[str, Any] = {
        "TrainingJobSummaries": [r for r in page if status in (None, r["TrainingJobStatus"])]
    }
    if rest:
        answer["NextToken"] = _encode(place(page[-1]), query)
    return answer


def _matches(record: Record, query: Mapping[str, Any]) -> bool:
    created, modified = record["CreationTime"], record["LastModifiedTime"]
    return (
        query.get("NameContains", "").lower() in record["TrainingJobName"].lower()
        and created > query.get("CreationTimeAfter", float("-inf"))
        and created < query.get("CreationTimeBefore", float("inf"))
        and modified > query.get("LastModifiedTimeAfter", float("-inf"))
        and modified < query.get("LastModifiedTimeBefore", float("inf"))
        # Warm pools and training plans do not exist here: asking for one finds no job.
        and not query.get("WarmPoolStatusEquals")
        and not query.get("TrainingPlanArnEquals")
    )


def _filters(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sorted(query.items()) if name not in ("NextToken", "MaxResults")}


def _encode(place: tuple[Any, str], query: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([place, _filters(query)]).encode()).decode()


def _decode(token: str, query: Mapping[str, Any]) -> tuple[Any, str]:
    try:
        (value, name), filters = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError) as error:
        raise ValidationError("The NextToken is not one that ListTrainingJobs gave") from error
    if filters != _filters(query):
        raise ValidationError("The NextToken belongs to a request with other filters or another order")
    return value, name
