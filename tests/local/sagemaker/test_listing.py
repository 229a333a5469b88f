"""Pages of ListTrainingJobs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facetrain.local.sagemaker.errors import ValidationError
from facetrain.local.sagemaker.listing import list_jobs

STATUSES = ["InProgress", "Completed", "Failed", "Stopping", "Stopped"]


def job(name: str, created: float = 0.0, status: str = "Completed") -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "CreationTime": created,
        "LastModifiedTime": created + 10,
        "TrainingJobStatus": status,
    }


def names(answer: dict[str, Any]) -> list[str]:
    return [summary["TrainingJobName"] for summary in answer["TrainingJobSummaries"]]


def pages(jobs: list[dict[str, Any]], query: dict[str, Any]) -> list[list[str]]:
    """All pages, as a client that follows NextToken sees them."""
    found, token = [], None
    while True:
        answer = list_jobs(jobs, {**query, **({"NextToken": token} if token else {})})
        found.append(names(answer))
        token = answer.get("NextToken")
        if token is None:
            return found


JOBS = st.lists(
    st.builds(job, st.text("ab-1", min_size=1, max_size=8), st.integers(0, 3), st.sampled_from(STATUSES)),
    unique_by=lambda record: record["TrainingJobName"],
    max_size=30,
)
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "MaxResults": st.integers(1, 7),
        "SortBy": st.sampled_from(["Name", "CreationTime", "Status"]),
        "SortOrder": st.sampled_from(["Ascending", "Descending"]),
        "NameContains": st.sampled_from(["a", "A-", "b1"]),
        "StatusEquals": st.sampled_from(STATUSES),
        "CreationTimeAfter": st.integers(-1, 3),
        "LastModifiedTimeBefore": st.integers(9, 14),
    },
)


@given(JOBS, QUERIES)
def test_the_pages_together_hold_every_match_once_and_in_order(
    jobs: list[dict[str, Any]], query: dict[str, Any]
) -> None:
    together = [name for page in pages(jobs, query) for name in page]
    everything = {**query, "MaxResults": 100}
    assert together == names(list_jobs(jobs, everything))
    matching = {
        record["TrainingJobName"]
        for record in jobs
        if query.get("NameContains", "").lower() in record["TrainingJobName"].lower()
        and query.get("StatusEquals", record["TrainingJobStatus"]) == record["TrainingJobStatus"]
        and record["CreationTime"] > query.get("CreationTimeAfter", -1)
        and record["LastModifiedTime"] < query.get("LastModifiedTimeBefore", 99)
    }
    assert set(together) == matching
    assert len(together) == len(matching)


@given(JOBS, JOBS, st.integers(1, 5))
def test_jobs_created_between_two_pages_hide_none_of_the_others(
    first: list[dict[str, Any]], later: list[dict[str, Any]], size: int
) -> None:
    known = {record["TrainingJobName"] for record in first}
    newer = [record for record in later if record["TrainingJobName"] not in known]
    begin = list_jobs(first, {"MaxResults": size})
    seen = names(begin)
    if "NextToken" in begin:
        rest = list_jobs(first + newer, {"MaxResults": 100, "NextToken": begin["NextToken"]})
        assert not set(names(rest)) & set(seen)
        seen += names(rest)
    assert known <= set(seen)


def test_the_newest_job_comes_first_where_no_order_is_asked_for() -> None:
    assert names(list_jobs([job("old", 1), job("new", 2)], {})) == ["new", "old"]


def test_a_page_holds_ten_jobs_where_no_size_is_asked_for() -> None:
    assert len(names(list_jobs([job(f"j{n}") for n in range(12)], {}))) == 10


def test_a_status_filters_the_page_after_it_was_cut() -> None:
    answer = list_jobs(
        [job("new", 2, "Failed"), job("old", 1)], {"MaxResults": 1, "StatusEquals": "Completed"}
    )
    assert names(answer) == []
    assert "NextToken" in answer


@pytest.mark.parametrize("token", ["%%%", "bm90IGpzb24=", "e30="])
def test_a_token_that_was_never_given_is_refused(token: str) -> None:
    with pytest.raises(ValidationError, match="NextToken"):
        list_jobs([job("a")], {"NextToken": token})


def test_a_token_is_refused_with_other_filters() -> None:
    token = list_jobs([job("a"), job("b")], {"MaxResults": 1})["NextToken"]
    with pytest.raises(ValidationError, match="other filters"):
        list_jobs([job("a"), job("b")], {"MaxResults": 1, "SortBy": "Name", "NextToken": token})
