"""What the events did not start, the comparison with what is there starts."""

import pytest

from launch_training import reconcile
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


@pytest.fixture
def world() -> World:
    return with_images(World())


def sweep(world: World) -> dict[str, int]:
    """One scheduled run and all messages that it sends itself; how often each thing was found."""
    found = dict(route({"reconcile": True}, PLATFORM, world.aws())["found"])
    while world.sent:
        message, _ = world.sent.pop(0)
        assert route(batch(message), PLATFORM, world.aws()) == {"batchItemFailures": []}
    return found


def test_a_manifest_whose_event_was_lost_gets_its_job(world: World) -> None:
    world.put(KEY, MANIFEST)
    assert sweep(world) == {"started": 1}
    assert sweep(world) == {"has its job": 1}
    assert len(world.jobs) == 1


def test_the_job_is_the_one_that_the_event_would_have_started(world: World) -> None:
    drop = world.put(KEY, MANIFEST)
    sweep(world)
    route(batch(object_created(drop)), PLATFORM, world.aws())
    assert len(world.jobs) == 1


def test_a_job_deleted_from_the_services_list_is_not_run_again(world: World) -> None:
    world.put(KEY, MANIFEST)
    sweep(world)
    world.jobs.clear()
    assert sweep(world) == {"has its job": 1}
    assert world.jobs == {}


def test_a_job_whose_record_was_not_written_is_not_run_again_even_without_its_data(world: World) -> None:
    world.put(KEY, MANIFEST)
    sweep(world)
    (name,) = world.jobs
    world.remove(f"outputs/staff/{name}/job.json", PLATFORM.outputs_bucket)
    world.remove("inputs/staff/images/anna/1.jpg")
    assert sweep(world) == {"has its job": 1}
    assert world.current(REJECTION) is None


def test_a_rejected_manifest_is_not_told_again(world: World) -> None:
    world.put(KEY, {**MANIFEST, "schema": 2})
    assert sweep(world) == {"refused": 1}
    assert sweep(world) == {"rejected before": 1}
    assert len(world.published) == 1


def test_a_rejection_left_by_a_crash_is_cleared(world: World) -> None:
    world.put(KEY, MANIFEST)
    sweep(world)
    world.put(REJECTION, {"version": "v-of-an-older-drop", "errors": []})
    sweep(world)
    assert world.current(REJECTION) is None


def test_waiting_for_capacity_does_not_fill_the_queue_with_copies(world: World) -> None:
    world.capacity = False
    world.put(KEY, MANIFEST)
    for _ in range(3):
        assert sweep(world) == {"waiting for capacity": 1}
    world.capacity = True
    assert sweep(world) == {"started": 1}


def test_more_folders_than_one_page_holds_are_all_looked_at() -> None:
    world = World()
    for number in range(2 * reconcile.PAGE + 3):
        with_images(world, f"inputs/set-{number}/")
        world.put(f"inputs/set-{number}/manifest.json", MANIFEST)
    sweep(world)
    assert len(world.jobs) == 2 * reconcile.PAGE + 3


def test_datasets_in_a_teams_folder_are_found() -> None:
    world = with_images(World(), "inputs/team/staff/")
    world.put("inputs/team/staff/manifest.json", MANIFEST)
    sweep(world)
    assert len(world.jobs) == 1


def test_a_dataset_still_being_uploaded_costs_no_look_below_its_folders() -> None:
    world = with_images(World())
    sweep(world)
    assert world.calls.count("HeadObject") == 2  # for a manifest in inputs/staff/ and in inputs/staff/images/


def test_one_datasets_trouble_does_not_keep_the_others_from_their_jobs() -> None:
    world = with_images(with_images(World(), "inputs/a/"), "inputs/b/")
    for name in ("a", "b"):
        world.put(f"inputs/{name}/manifest.json", MANIFEST)
    calls = iter([aws_error("ThrottlingException")])

    def turn(_service: str, operation: str, moment: str) -> None:
        if operation == "CreateTrainingJob" and moment == "before" and (error := next(calls, None)):
            raise error

    world.turn = turn
    assert sweep(world) == {"failed": 1, "started": 1}


def test_an_empty_bucket_is_no_trouble() -> None:
    world = World()
    world.put("other", b"")
    assert sweep(world) == {}
