"""What the launcher's clock says of a manifest's basis, however the job would be started."""

import dataclasses
from typing import Any

import pytest

from launch_training.handler import route
from tests.launcher.fakes import KEY, MANIFEST, PLATFORM, REJECTION, World, batch, object_created, with_images

DAY = 24 * 3600
LAST_DAY = {**MANIFEST, "governance": {"legal_basis": "consent", "expires_at": "2027-01-15"}}  # World's today
REASON = "the basis ended with 2027-01-15 (UTC): renew it and write its new end, or delete the data"
STRICT = dataclasses.replace(PLATFORM, governance_required=("legal_basis", "expires_at"))


@pytest.fixture
def world() -> World:
    return with_images(World())


def deliver(world: World, *bodies: object) -> None:
    assert route(batch(*bodies), STRICT, world.aws(STRICT)) == {"batchItemFailures": []}


def invoke(world: World) -> dict[str, Any]:
    return route({"manifest": f"s3://{PLATFORM.inputs_bucket}/{KEY}"}, STRICT, world.aws(STRICT))


def sweep(world: World) -> dict[str, int]:
    return dict(route({"reconcile": True}, STRICT, world.aws(STRICT))["found"])


def told(world: World) -> list[str]:
    return [error["message"] for error in world.read_json(REJECTION)["errors"]]


def test_a_drop_without_the_required_basis_is_rejected_key_by_key(world: World) -> None:
    deliver(world, object_created(world.put(KEY, MANIFEST)))
    errors = world.read_json(REJECTION)["errors"]
    assert [error["path"] for error in errors] == ["governance.legal_basis", "governance.expires_at"]
    assert world.jobs == {}


def test_a_drop_after_its_basis_ended_is_rejected_and_told_with_the_reason(world: World) -> None:
    world.time += DAY
    deliver(world, object_created(world.put(KEY, LAST_DAY)))
    assert told(world) == [REASON]
    assert REASON in world.published[0]["Message"]
    assert [metric["MetricName"] for metric in world.metrics] == ["ManifestRejected"]
    assert world.jobs == {}


def test_a_drop_on_the_last_day_is_started_and_stopped_with_the_day(world: World) -> None:
    deliver(world, object_created(world.put(KEY, LAST_DAY)))
    (job,) = world.jobs.values()
    assert job["StoppingCondition"]["MaxRuntimeInSeconds"] == 16 * 3600


def test_by_hand_the_answer_is_the_reason(world: World) -> None:
    world.time += DAY
    world.put(KEY, LAST_DAY)
    assert invoke(world) == {"errors": [{"path": "governance.expires_at", "message": REASON}]}
    assert world.jobs == {}


def test_what_waited_for_capacity_past_its_basis_is_rejected_when_its_turn_comes(world: World) -> None:
    world.capacity = False
    deliver(world, object_created(world.put(KEY, LAST_DAY)))
    (waiting, _), world.capacity, world.time = world.sent.pop(), True, world.time + DAY
    deliver(world, waiting)
    assert told(world) == [REASON]
    assert world.jobs == {}


def test_the_look_round_starts_no_job_whose_basis_ended_and_tells_once(world: World) -> None:
    world.time += DAY
    world.put(KEY, LAST_DAY)
    assert sweep(world) == {"refused": 1}
    assert told(world) == [REASON]
    assert sweep(world) == {"rejected before": 1}
    assert len(world.published) == 1
    assert world.jobs == {}


def test_a_job_that_runs_is_not_rejected_by_a_copy_of_its_event_after_its_basis_ended(world: World) -> None:
    event = object_created(world.put(KEY, LAST_DAY))
    deliver(world, event)
    world.time += DAY
    deliver(world, event)
    assert invoke(world)["status"] == "already started"
    assert sweep(world) == {"has its job": 1}
    assert world.current(REJECTION) is None
    assert len(world.jobs) == 1


def test_a_renewed_basis_starts_a_job_and_clears_the_rejection(world: World) -> None:
    world.time += DAY
    deliver(world, object_created(world.put(KEY, LAST_DAY)))
    renewed = {**LAST_DAY, "governance": {"legal_basis": "consent", "expires_at": "2028-01-15"}}
    deliver(world, object_created(world.put(KEY, renewed)))
    assert world.current(REJECTION) is None
    assert len(world.jobs) == 1


def test_the_whole_block_is_in_the_jobs_record_and_all_but_the_contact_in_its_tags(world: World) -> None:
    block = {**LAST_DAY["governance"], "contact": "privacy@example.org"}
    deliver(world, object_created(world.put(KEY, {**LAST_DAY, "governance": block})))
    ((name, job),) = world.jobs.items()
    tags = {tag["Key"]: tag["Value"] for tag in job["Tags"]}
    assert (tags["facetrain:legal-basis"], tags["facetrain:expires-at"]) == ("consent", "2027-01-15")
    assert "facetrain:contact" not in tags
    record = world.read_json(f"outputs/staff/{name}/job.json", PLATFORM.outputs_bucket)
    assert record["governance"] == block


def counted(world: World) -> list[str]:
    return [metric["MetricName"] for metric in world.metrics]


@pytest.mark.parametrize("days", [0, 1])
def test_data_that_lies_there_past_its_expiry_is_counted_and_named_at_each_look_round(
    world: World, capsys: pytest.CaptureFixture[str], days: int
) -> None:
    deliver(world, object_created(world.put(KEY, LAST_DAY)))
    world.time += days * DAY
    assert sweep(world) == {"has its job": 1}
    assert counted(world) == ["DataPastExpiry"] * days
    lines = [line for line in capsys.readouterr().out.splitlines() if "past its expiry" in line]
    assert [KEY in line for line in lines] == [True] * days


def test_data_of_a_refused_manifest_is_counted_too(world: World) -> None:
    world.time += DAY
    world.put(KEY, LAST_DAY)
    sweep(world)
    sweep(world)
    assert counted(world) == ["DataPastExpiry", "ManifestRejected", "DataPastExpiry"]


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "[]",
        {"governance": []},
        {"governance": {"expires_at": 7}},
        {"governance": {"expires_at": "x"}},
    ],
)
def test_a_manifest_that_names_no_end_is_past_none(world: World, body: Any) -> None:
    world.time += 10_000 * DAY
    world.put(KEY, body)
    assert sweep(world) == {"refused": 1}
    assert counted(world) == ["ManifestRejected"]
