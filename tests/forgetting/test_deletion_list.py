"""The deletion list is added to such that nothing is lost."""

from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from facetrain.forgetting import deletion_list
from tests.forgetting.fake_s3 import FakeS3
from tests.forgetting.photos import INPUTS
from training.jobs import contract
from training.jobs.forgotten import Forgotten


def listed(s3: FakeS3) -> Forgotten:
    return Forgotten.parse(s3.body(INPUTS, contract.FORGOTTEN_KEY))


@dataclass
class Raced(FakeS3):
    """Somebody else adds to the list between our reading and our writing, so many times."""

    others: list[str] = field(default_factory=list)

    def put_object(self, Bucket: str, Key: str, Body: Any, *more: Any, **rest: Any) -> dict[str, Any]:
        if self.others:
            name = self.others.pop()
            deletion_list.add(self, Bucket, name, "*", "2026-11-21")
        return super().put_object(Bucket, Key, Body, *more, **rest)


def test_two_who_add_at_once_lose_nothing() -> None:
    s3 = Raced(others=["ada", "bob"])
    deletion_list.add(s3, INPUTS, "zoe", "*", "2026-11-22")
    assert all(listed(s3).holds("x", who) for who in ("ada", "bob", "zoe"))


def test_an_entry_is_not_added_twice(s3: FakeS3) -> None:
    for day in ("2026-11-22", "2026-11-23"):
        deletion_list.add(s3, INPUTS, "zoe", "*", day)
    assert [day for _, day in listed(s3).entries] == ["2026-11-22"]
    assert s3.versions(INPUTS, contract.FORGOTTEN_KEY) == 1


class Unconditional(FakeS3):
    """A store that knows no conditional writes."""

    def put_object(self, Bucket: str, Key: str, Body: Any, *more: Any, **rest: Any) -> dict[str, Any]:
        if "IfMatch" in rest or "IfNoneMatch" in rest:
            raise ClientError({"Error": {"Code": "NotImplemented"}}, "PutObject")
        return super().put_object(Bucket, Key, Body, *more, **rest)


def test_a_store_without_conditions_still_gets_its_list() -> None:
    s3 = Unconditional()
    deletion_list.add(s3, INPUTS, "zoe", "*", "2026-11-22")
    assert listed(s3).holds("x", "zoe")
