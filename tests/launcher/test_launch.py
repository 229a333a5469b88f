"""A drop becomes one job, through the queue or by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from launch_training.events import UnknownEventError
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
from training.jobs.request import job_name
from training.jobs.uri import S3Uri

LOCATION = S3Uri(PLATFORM.inputs_bucket, KEY)


@pytest.fixture
def world() -> World:
    return with_images(World())


def deliver(world: World, *bodies: object) -> list[str]:
    """The ids of the messages that the launcher could not handle."""
    answer = route(batch(*bodies), PLATFORM, world.aws())
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def invoke(world: World, **event: object) -> dict[str, Any]:
    return route({"manifest": str(LOCATION), **event}, PLATFORM, world.aws())


def failing(code: str, operation: str, moment: str = "before") -> Callable[[str, str, str], None]:
    def turn(_service: str, called: str, when: str) -> None:
        if (called, when) == (operation, moment):
            raise aws_error(code, operation)

    return turn


def test_a_drop_starts_a_job_named_after_it(world: World) -> None:
    drop = world.put(KEY, MANIFEST)
    assert deliver(world, object_created(drop)) == []
    assert list(world.jobs) == [job_name(PLATFORM, LOCATION, "staff", drop.id)]


def test_a_second_copy_of_an_event_starts_no_second_job(world: World) -> None:
    event = object_created(world.put(KEY, MANIFEST))
    assert deliver(world, event, event) == []
    assert deliver(world, event) == []
    assert len(world.jobs) == 1


def test_an_unchanged_manifest_dropped_again_starts_a_new_job(world: World) -> None:
    deliver(world, object_created(world.put(KEY, MANIFEST)))
    deliver(world, object_created(world.put(KEY, MANIFEST)))
    assert len(world.jobs) == 2


def test_two_drops_within_a_second_become_two_jobs_in_whatever_order_their_events_come(world: World) -> None:
    first = object_created(world.put(KEY, MANIFEST))
    second = object_created(world.put(KEY, {**MANIFEST, "hyperparameters": {"epochs": 3}}))
    assert deliver(world, second, first) == []
    assert sorted(job["HyperParameters"].get("epochs", "") for job in world.jobs.values()) == ["", "3"]


def test_the_job_record_says_which_drop_asked_for_what(world: World) -> None:
    drop = world.put(KEY, {**MANIFEST, "governance": {"legal_basis": "consent", "contact": "a@b"}})
    deliver(world, object_created(drop))
    (name,) = world.jobs
    record = world.read_json(f"outputs/staff/{name}/job.json", PLATFORM.outputs_bucket)
    assert record["manifest"] == str(LOCATION)
    assert record["version"] == drop.id
    assert record["governance"]["legal_basis"] == "consent"
    assert record["request"] == {k: v for k, v in world.jobs[name].items() if k != "TrainingJobArn"}


def test_a_copy_that_comes_after_a_new_deployment_leaves_the_record_of_the_real_job(world: World) -> None:
    event = object_created(world.put(KEY, MANIFEST))
    deliver(world, event)
    (name,) = world.jobs
    key = f"outputs/staff/{name}/job.json"
    before = world.read_json(key, PLATFORM.outputs_bucket)
    world.remove(key, PLATFORM.outputs_bucket)
    world.jobs[name]["RoleArn"] = "arn:aws:iam::000000000000:role/earlier"
    deliver(world, event)
    assert world.read_json(key, PLATFORM.outputs_bucket) == {
        **before,
        "request": {**before["request"], "RoleArn": "arn:aws:iam::000000000000:role/earlier"},
    }


def test_a_manifest_deleted_meanwhile_starts_nothing_and_is_done(world: World) -> None:
    drop = world.put(KEY, MANIFEST)
    world.remove(KEY)
    assert deliver(world, object_created(drop)) == []
    assert world.jobs == {}
    assert world.published == []


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalServerError", "ServiceUnavailable"])
def test_a_passing_trouble_fails_the_message_and_the_next_try_starts_the_job(world: World, code: str) -> None:
    event = object_created(world.put(KEY, MANIFEST))
    world.turn = failing(code, "CreateTrainingJob")
    assert deliver(world, event) == ["m0"]
    world.turn = World().turn
    assert deliver(world, event) == []
    assert len(world.jobs) == 1


def test_an_answer_that_was_lost_does_not_lose_the_job_nor_start_another(world: World) -> None:
    event = object_created(world.put(KEY, MANIFEST))
    world.turn = failing("RequestTimeout", "CreateTrainingJob", "after")
    assert deliver(world, event) == ["m0"]
    world.turn = World().turn
    assert deliver(world, event) == []
    (name,) = world.jobs
    assert world.read_json(f"outputs/staff/{name}/job.json", PLATFORM.outputs_bucket)["job_name"] == name


def test_one_bad_message_does_not_hold_up_the_others(world: World) -> None:
    good = object_created(world.put(KEY, MANIFEST))
    assert deliver(world, "not JSON", good, {"detail-type": "Object Deleted"}, '"text"') == ["m0", "m2", "m3"]
    assert len(world.jobs) == 1


def test_a_foreign_job_under_our_name_is_not_taken_for_ours(world: World) -> None:
    drop = world.put(KEY, MANIFEST)
    name = job_name(PLATFORM, LOCATION, "staff", drop.id)
    world.jobs[name] = {"TrainingJobArn": "arn", "CheckpointConfig": {"S3Uri": "s3://elsewhere/"}}
    assert deliver(world, object_created(drop)) == ["m0"]
    with pytest.raises(RuntimeError, match="something else started it under our name"):
        invoke(world)


def test_a_request_that_sagemaker_refuses_is_told_as_a_rejection(world: World) -> None:
    world.turn = failing("ValidationException", "CreateTrainingJob")
    assert deliver(world, object_created(world.put(KEY, MANIFEST))) == []
    assert "SageMaker refuses the job" in world.read_json(REJECTION)["errors"][0]["message"]


def test_without_versions_the_etag_names_the_drop(world: World) -> None:
    world.versioned = False
    first = world.put(KEY, MANIFEST)
    event = object_created(first, versioned=False)
    assert deliver(world, event, event) == []
    assert list(world.jobs) == [job_name(PLATFORM, LOCATION, "staff", first.etag)]
    world.put(KEY, {**MANIFEST, "hyperparameters": {"epochs": 3}})
    assert (
        deliver(world, event) == []
    )  # what it was about cannot be read any more; the newer drop has its own
    assert len(world.jobs) == 1


def test_by_hand_the_newest_drop_is_started_and_the_answer_names_the_job(world: World) -> None:
    world.put(KEY, "not JSON")
    drop = world.put(KEY, MANIFEST)
    name = job_name(PLATFORM, LOCATION, "staff", drop.id)
    expected = {"job_name": name, "job_arn": f"arn:aws:sagemaker:us-east-1:{'0' * 12}:training-job/{name}"}
    assert invoke(world) == {**expected, "status": "started"}
    assert invoke(world) == {**expected, "status": "already started"}
    assert deliver(world, object_created(drop)) == []
    assert len(world.jobs) == 1


def test_by_hand_an_older_drop_can_be_named(world: World) -> None:
    older = world.put(KEY, {**MANIFEST, "hyperparameters": {"epochs": 3}})
    world.put(KEY, MANIFEST)
    assert invoke(world, version_id=older.id)["status"] == "started"
    assert [job["HyperParameters"]["epochs"] for job in world.jobs.values()] == ["3"]


def test_by_hand_other_hyperparameters_make_another_job(world: World) -> None:
    world.put(KEY, MANIFEST)
    invoke(world)
    invoke(world, overrides={"hyperparameters": {}})
    assert len(world.jobs) == 1
    invoke(world, overrides={"hyperparameters": {"epochs": 3}})
    assert len(world.jobs) == 2


def test_by_hand_a_bad_manifest_answers_with_every_error_and_leaves_nothing(world: World) -> None:
    world.put(KEY, {**MANIFEST, "schema": 2, "chanels": {}})
    errors = invoke(world)["errors"]
    assert [error["path"] for error in errors] == ["chanels", "schema"]
    assert world.current(REJECTION) is None
    assert world.published == []


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({"manifest": "inputs/staff/manifest.json"}, "manifest"),
        ({"manifest": 7}, "manifest"),
        ({"manifest": "s3://elsewhere/inputs/staff/manifest.json"}, "manifest"),
        ({"manifest": f"s3://{PLATFORM.inputs_bucket}/inputs/nobody/manifest.json"}, "manifest"),
        ({"version_id": ""}, "version_id"),
        ({"overrides": []}, "overrides"),
        ({"overrides": {"governance": {"source": "x"}}}, "overrides.governance"),
        ({"verson_id": "v1"}, "verson_id"),
    ],
)
def test_by_hand_a_wrong_invocation_is_told_where_it_is_wrong(
    world: World, event: dict[str, object], path: str
) -> None:
    world.put(KEY, MANIFEST)
    assert [error["path"] for error in invoke(world, **event)["errors"]] == [path]
    assert world.jobs == {}


@pytest.mark.parametrize("event", [{}, {"reconcile": "yes"}, {"Records": 3}, [], None, "manifest"])
def test_an_unknown_event_is_told_the_three_forms(world: World, event: object) -> None:
    with pytest.raises(UnknownEventError, match=r"Records.*\n.*manifest.*\n.*reconcile"):
        route(event, PLATFORM, world.aws())


def test_a_launch_that_goes_well_logs_its_decision_and_nobody(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = {**MANIFEST, "governance": {"contact": "privacy@example.org", "source": "enrolment"}}
    deliver(world, object_created(world.put(KEY, manifest)))
    lines = capsys.readouterr().out.splitlines()
    assert ['"decision": "started"' in line for line in lines] == [True]
    assert "privacy@" not in lines[0]
    assert "enrolment" not in lines[0]


def test_a_refused_contact_is_not_logged(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    deliver(
        world,
        object_created(world.put(KEY, {**MANIFEST, "governance": {"contact": ["privacy@example.org"]}})),
    )
    out = capsys.readouterr().out
    assert '"governance.contact"' in out
    assert "privacy@" not in out
