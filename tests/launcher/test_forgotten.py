"""Once there is a deletion list, no job starts without it."""

from launch_training.handler import route
from tests.launcher.fakes import KEY, MANIFEST, PLATFORM, World, batch, object_created, with_images

LIST = PLATFORM.deletion_list


def channels_of(world: World) -> list[str]:
    (job,) = world.jobs.values()
    return [channel["ChannelName"] for channel in job["InputDataConfig"]]


def dropped(world: World) -> list[object]:
    answer = route(batch(object_created(world.put(KEY, MANIFEST))), PLATFORM, world.aws())
    return list(answer["batchItemFailures"])


def test_a_job_gets_the_list_where_there_is_one() -> None:
    world = with_images(World())
    world.put(LIST.key, "{}")
    assert dropped(world) == []
    assert channels_of(world) == ["forgotten", "images"]


def test_where_nobody_is_forgotten_a_job_gets_what_its_manifest_names() -> None:
    world = with_images(World())
    assert dropped(world) == []
    assert channels_of(world) == ["images"]


def test_no_job_starts_where_it_cannot_be_told_whether_there_is_a_list() -> None:
    """The drop stays in the queue, for an operator to mend: it is no fault of the manifest."""
    world = with_images(World())
    asked = world.turn

    def turn(service: str, operation: str, moment: str) -> None:
        asked(service, operation, moment)
        if operation == "ListObjectsV2" and world.calls.count("ListObjectsV2") == 1:
            world.denied.add((operation, LIST.bucket))

    world.turn = turn
    assert len(dropped(world)) == 1
    assert not world.jobs
