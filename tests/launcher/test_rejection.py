"""What is told of a bad manifest, to whom, and until when."""

from collections.abc import Callable

import pytest

from launch_training.handler import route
from tests.launcher.fakes import (
    KEY,
    MANIFEST,
    PLATFORM,
    REJECTION,
    World,
    aws_error,
    batch,
    object_created,
    with_images,
)

BAD = {**MANIFEST, "schema": 2}


@pytest.fixture
def world() -> World:
    return with_images(World())


def deliver(world: World, *bodies: object) -> list[dict[str, str]]:
    failures: list[dict[str, str]] = route(batch(*bodies), PLATFORM, world.aws())["batchItemFailures"]
    return failures


def test_a_bad_manifest_gets_its_errors_beside_it_on_the_topic_and_as_a_metric(world: World) -> None:
    drop = world.put(KEY, BAD)
    assert deliver(world, object_created(drop)) == []
    assert world.jobs == {}
    told = world.read_json(REJECTION)
    assert told["version"] == drop.id
    assert [error["path"] for error in told["errors"]] == ["schema"]
    assert [message["Subject"] for message in world.published] == ["Facetrain: manifest of staff rejected"]
    assert "schema: 2 is not known" in world.published[0]["Message"]
    (metric,) = world.metrics
    assert (metric["Namespace"], metric["MetricName"]) == ("Facetrain", "ManifestRejected")
    assert metric["Dimensions"] == [{"Name": "Stage", "Value": "test"}]


def test_a_second_copy_of_a_bad_drop_tells_nobody_again(world: World) -> None:
    event = object_created(world.put(KEY, BAD))
    deliver(world, event, event)
    assert len(world.published) == 1


def test_a_corrected_manifest_clears_the_rejection_and_all_before_it(world: World) -> None:
    deliver(world, object_created(world.put(KEY, BAD)))
    deliver(world, object_created(world.put(KEY, BAD)))
    deliver(world, object_created(world.put(KEY, MANIFEST)))
    assert world.current(REJECTION) is None
    assert len(world.jobs) == 1


def test_a_late_event_of_an_older_bad_drop_says_nothing_about_the_newer_good_one(world: World) -> None:
    bad = object_created(world.put(KEY, BAD))
    good = object_created(world.put(KEY, MANIFEST))
    deliver(world, good, bad)
    assert world.current(REJECTION) is None
    assert world.published == []


def test_a_late_event_of_an_older_good_drop_leaves_the_verdict_on_the_newer_bad_one(world: World) -> None:
    good = object_created(world.put(KEY, MANIFEST))
    bad = world.put(KEY, BAD)
    deliver(world, object_created(bad), good)
    assert world.read_json(REJECTION)["version"] == bad.id
    assert len(world.jobs) == 1


def test_a_copy_that_comes_when_the_data_is_gone_does_not_reject_what_has_its_job(world: World) -> None:
    event = object_created(world.put(KEY, MANIFEST))
    deliver(world, event)
    world.remove("inputs/staff/images/anna/1.jpg")
    deliver(world, event)
    assert world.current(REJECTION) is None
    assert len(world.jobs) == 1


def test_a_drop_refused_for_want_of_data_is_cleared_when_started_by_hand(world: World) -> None:
    world = World()
    drop = world.put(KEY, MANIFEST)
    deliver(world, object_created(drop))
    assert world.current(REJECTION) is not None
    with_images(world)
    route({"manifest": f"s3://{PLATFORM.inputs_bucket}/{KEY}"}, PLATFORM, world.aws())
    assert world.current(REJECTION) is None


def test_a_file_of_that_name_that_we_did_not_write_is_replaced(world: World) -> None:
    world.put(REJECTION, "[]")
    drop = world.put(KEY, BAD)
    deliver(world, object_created(drop))
    assert world.read_json(REJECTION)["version"] == drop.id


def test_a_topic_that_cannot_be_reached_leaves_the_message_in_the_queue(world: World) -> None:
    event = object_created(world.put(KEY, BAD))

    def turn(_service: str, operation: str, moment: str) -> None:
        if operation == "Publish":
            raise aws_error("InternalError", operation)

    world.turn = turn
    assert deliver(world, event) == [{"itemIdentifier": "m0"}]
    world.turn = World().turn
    assert deliver(world, event) == []
    assert len(world.published) == 1
    assert world.current(REJECTION) is not None


def meanwhile(world: World, operation: str, drop: Callable[[], object]) -> None:
    """Drop another and have it handled just before the next such call is made."""

    def turn(_service: str, called: str, moment: str) -> None:
        if (called, moment) == (operation, "before"):
            world.turn = World().turn
            deliver(world, drop())

    world.turn = turn


def test_a_verdict_on_a_drop_that_was_replaced_while_it_was_written_is_taken_back(world: World) -> None:
    bad = object_created(world.put(KEY, BAD))
    meanwhile(world, "PutObject", lambda: object_created(world.put(KEY, MANIFEST)))
    deliver(world, bad)
    assert world.current(REJECTION) is None
    assert len(world.jobs) == 1


def test_a_verdict_on_a_newer_drop_survives_one_on_an_older_written_over_it(world: World) -> None:
    bad = object_created(world.put(KEY, BAD))
    meanwhile(world, "PutObject", lambda: object_created(world.put(KEY, BAD)))
    deliver(world, bad)
    newest = world.current(KEY)
    assert newest is not None
    assert world.read_json(REJECTION)["version"] == newest.id


def test_a_verdict_on_a_newer_drop_survives_the_clearing_of_an_older_one(world: World) -> None:
    deliver(world, object_created(world.put(KEY, BAD)))
    good = object_created(world.put(KEY, MANIFEST))
    meanwhile(world, "DeleteObject", lambda: object_created(world.put(KEY, BAD)))
    deliver(world, good)
    newest = world.current(KEY)
    assert newest is not None
    assert world.read_json(REJECTION)["version"] == newest.id


def test_a_verdict_left_by_a_crash_is_taken_back_when_the_message_comes_again(world: World) -> None:
    bad = object_created(world.put(KEY, BAD))

    def turn(_service: str, operation: str, moment: str) -> None:
        if (operation, moment) == ("PutObject", "after"):
            raise aws_error("InternalError", operation)

    world.turn = turn
    deliver(world, bad)
    world.turn = World().turn
    world.put(KEY, MANIFEST)
    assert deliver(world, bad) == []
    assert world.current(REJECTION) is None
