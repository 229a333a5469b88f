"""What is looked for before a machine is paid for."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from launch_training.handler import route
from tests.launcher.fakes import KEY, MANIFEST, PLATFORM, World, with_images
from training.jobs.uri import S3Uri


def errors_of(world: World, **channels: str) -> list[str]:
    world.put(KEY, {**MANIFEST, "channels": {"images": "images/", **channels}})
    event = {"manifest": str(S3Uri(PLATFORM.inputs_bucket, KEY))}
    answer: dict[str, Any] = route(event, PLATFORM, world.aws())
    return [f"{error['path']}: {error['message']}" for error in answer.get("errors", [])]


def test_a_channel_that_is_there_is_right() -> None:
    assert errors_of(with_images(World())) == []


def test_a_misspelt_folder_is_told_the_nearest_one() -> None:
    (error,) = errors_of(with_images(World()), images="image/")
    assert error.startswith('channels.images: "image/" holds no objects in s3://')
    assert error.endswith('(did you mean "images/"?)')


def test_a_file_beside_one_with_a_longer_name_is_not_taken_for_it() -> None:
    world = with_images(World())
    world.put("inputs/staff/labels.csv.bak", "a,b")
    assert errors_of(world, labels="labels.csv")[0].startswith(
        'channels.labels: there is no object "labels.csv"'
    )


def test_folder_markers_are_no_data_however_many() -> None:
    world = World()
    for folder in ("", *(f"person-{number}/" for number in range(3))):
        world.put(f"inputs/staff/images/{folder}", b"")
    (error,) = errors_of(world)
    assert '"images/" holds no objects' in error
    world.put("inputs/staff/images/person-2/1.jpg", b"jpeg")
    assert errors_of(world) == []


def test_a_manifest_before_its_data_is_told_to_come_last() -> None:
    assert errors_of(World())[0].endswith("upload the data, then the manifest again")


def test_another_bucket_that_refuses_is_named_with_the_permission() -> None:
    world = with_images(World())
    world.put("weights.pt", b"w", bucket="shared")
    world.denied = {("ListObjectsV2", "shared")}
    (error,) = errors_of(world, weights="s3://shared/weights.pt")
    assert error.startswith("channels.weights: cannot look into s3://shared/weights.pt: access is denied")
    assert "s3:ListBucket on arn:aws:s3:::shared" in error


def test_another_bucket_that_does_not_exist_is_named() -> None:
    (error,) = errors_of(with_images(World()), weights="s3://shared/weights.pt")
    assert "there is no such bucket" in error


def test_the_deployments_own_bucket_refusing_is_a_fault_and_no_rejection() -> None:
    world = with_images(World())
    world.denied = {("ListObjectsV2", PLATFORM.inputs_bucket)}
    with pytest.raises(ClientError, match="AccessDenied"):
        errors_of(world)


def test_train_args_are_checked_before_a_machine_is_paid_for() -> None:
    world = with_images(World())
    world.put("inputs/staff/cfg/train-args.json", {"epochs": 0, "learning_rte": 0.1})
    paths = [error.partition(":")[0] for error in errors_of(world, cfg="cfg/")]
    assert paths == ["cfg/train-args.json.epochs", "cfg/train-args.json.learning_rte"]


@pytest.mark.parametrize(
    ("body", "said"), [(b"{", "is not JSON"), (b"\xff", "is not UTF-8"), (b"[]", "object")]
)
def test_train_args_that_cannot_be_read_are_told(body: bytes, said: str) -> None:
    world = with_images(World())
    world.put("inputs/staff/cfg/train-args.json", body)
    (error,) = errors_of(world, cfg="cfg/")
    assert error.startswith("cfg/train-args.json: ")
    assert said in error


def test_a_cfg_channel_without_train_args_is_right() -> None:
    world = with_images(World())
    world.put("inputs/staff/cfg/notes.txt", b"none")
    assert errors_of(world, cfg="cfg/") == []


def test_a_manifest_of_more_than_its_limit_is_refused_without_being_read_whole() -> None:
    world = with_images(World())
    world.put(KEY, b" " * (256 * 1024 + 1))
    answer = route({"manifest": str(S3Uri(PLATFORM.inputs_bucket, KEY))}, PLATFORM, world.aws())
    assert "larger than 256 KiB" in answer["errors"][0]["message"]
