"""Waiting for machines is no failure."""

import pytest

from launch_training.capacity import LONGEST_WAIT_SECONDS, delay_seconds
from launch_training.handler import route
from tests.launcher.fakes import KEY, MANIFEST, PLATFORM, World, batch, object_created, with_images


@pytest.fixture
def world() -> World:
    return with_images(World(capacity=False))


def deliver(world: World, body: object) -> bool:
    """Whether the message left the queue."""
    return route(batch(body), PLATFORM, world.aws()) == {"batchItemFailures": []}


def waiting_message(world: World) -> dict[str, object]:
    message, _ = world.sent.pop()
    return message


def test_delays_grow_to_what_the_queue_can_do() -> None:
    delays = [delay_seconds(attempt) for attempt in range(1500)]
    assert delays[:7] == [30, 60, 120, 240, 480, 900, 900]
    assert set(delays[7:]) == {900}


def test_a_drop_without_capacity_goes_back_to_the_queue_and_starts_when_there_is_room(world: World) -> None:
    body: object = object_created(world.put(KEY, MANIFEST))
    for attempt in range(1, 4):
        assert deliver(world, body)
        body = waiting_message(world)
        assert body["attempt"] == attempt
    world.capacity = True
    assert deliver(world, body)
    assert len(world.jobs) == 1
    assert world.sent == []


def test_the_message_on_the_topic_comes_once_and_names_the_quota_and_where_to_ask(world: World) -> None:
    assert deliver(world, object_created(world.put(KEY, MANIFEST)))
    assert deliver(world, waiting_message(world))
    (message,) = world.published
    assert '"ml.g6.xlarge for spot training job usage"' in message["Message"]
    assert "us-east-1.console.aws.amazon.com/servicequotas" in message["Message"]


def test_after_as_long_as_the_queue_would_keep_it_the_message_is_set_aside(world: World) -> None:
    assert deliver(world, object_created(world.put(KEY, MANIFEST)))
    message = waiting_message(world)
    world.time += LONGEST_WAIT_SECONDS + 1
    assert not deliver(world, message)
    world.capacity = True
    assert deliver(world, message)  # and a redrive of it still finds the machine
    assert len(world.jobs) == 1


def test_waiting_ends_when_the_manifest_is_deleted(world: World) -> None:
    assert deliver(world, object_created(world.put(KEY, MANIFEST)))
    world.remove(KEY)
    assert deliver(world, waiting_message(world))
    assert world.sent == []


def test_a_job_that_uses_up_the_quota_itself_is_not_waited_for(world: World) -> None:
    world.capacity = True
    event = object_created(world.put(KEY, MANIFEST))
    assert deliver(world, event)
    world.capacity = False
    assert deliver(world, event)
    assert world.sent == []


def test_by_hand_the_answer_says_that_it_waits_and_for_what(world: World) -> None:
    drop = world.put(KEY, MANIFEST)
    event = {
        "manifest": f"s3://{PLATFORM.inputs_bucket}/{KEY}",
        "overrides": {"resources": {"spot": False}},
    }
    answer = route(event, PLATFORM, world.aws())
    assert answer["status"] == "waiting for capacity"
    assert answer["job_arn"] is None
    assert '"ml.g6.xlarge for training job usage"' in answer["message"]
    world.put(KEY, "replaced meanwhile")
    world.capacity = True
    assert deliver(world, waiting_message(world))
    assert list(world.jobs) == [answer["job_name"]]
    assert drop.id in str(world.objects)
