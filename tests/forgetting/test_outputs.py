"""What jobs left of a person is found, wherever it lies, and nothing of it stays; others keep theirs."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from facetrain.forgetting import archives, marks, outputs
from facetrain.forgetting.outputs import Outputs, Person, find
from facetrain.forgetting.settling import Settled, settle
from facetrain.forgetting.tables import Named
from tests.forgetting.fake_s3 import FakeS3
from tests.forgetting.models import FACE, centres_in, classes, head, model, output, tar, untar
from training.jobs.forgotten import NOTE_NAME
from training.jobs.platform import Platform
from training.jobs.uri import S3Uri

PLATFORM = Platform.example()
INPUTS, OUTPUTS = PLATFORM.inputs_bucket, PLATFORM.outputs_bucket
ZOE = Person(Named("zoe"), "d" * 64)
DAY = "2026-11-22"
PEOPLE = ("ada", "zoe", "bob")


def inputs_of(channels: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"ChannelName": channel, "DataSource": {"S3DataSource": {"S3Uri": uri}}}
        for channel, uri in channels.items()
    ]


class SageMaker:
    """Lists the jobs that it is asked for by these names. channels: of all of them."""

    def __init__(self, *names: str, **channels: str) -> None:
        self.names, self.tags = names, dict[str, list[dict[str, str]]]()
        self.channels = inputs_of(channels)

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        if TrainingJobName not in self.names:
            raise ClientError({"Error": {"Code": "ValidationException"}}, "DescribeTrainingJob")
        return {"TrainingJobArn": f"arn:{TrainingJobName}", "InputDataConfig": self.channels}

    def add_tags(self, ResourceArn: str, Tags: list[dict[str, str]]) -> None:
        self.tags[ResourceArn] = Tags


def put_job(
    s3: FakeS3, name: str, dataset: str = "staff", *, weights: str = "", **artefacts: bytes | None
) -> str:
    """The job's folder. artefacts: model and output, as archives."""
    folder = f"outputs/{dataset}/{name}/"
    channels = {"images": f"s3://{INPUTS}/inputs/{dataset}/images/"} | (
        {"weights": weights} if weights else {}
    )
    record = {"request": {"InputDataConfig": inputs_of(channels)}}
    s3.put(OUTPUTS, f"{folder}job.json", json.dumps(record).encode())
    for artefact, content in artefacts.items():
        s3.put(OUTPUTS, f"{folder}output/{artefact}.tar.gz", content, ContentType="application/x-tar")
    s3.put(OUTPUTS, f"checkpoints/{dataset}/{name}/step-1/state", b"centres of all")
    return folder


def forget(s3: FakeS3, person: Person = ZOE, **more: Any) -> tuple[Outputs, Settled]:
    found = find(s3, SageMaker(), PLATFORM, person, **more)
    return found, settle(s3, SageMaker("one"), person, found, DAY)


def why(found: Outputs) -> dict[str, str]:
    return {job.name: job.why for job in found.jobs}


def traces(s3: FakeS3, name: bytes = b"zoe") -> list[str]:
    """Keys with a version that holds the name, archives unpacked."""
    found = []
    for key, body in s3.everything():
        files = untar(body) if key.endswith(archives.SUFFIXES) else {"": body}
        found += [key for content in files.values() if name in content]
    return found


def test_a_model_loses_the_persons_row_and_centre_and_nobody_elses(s3: FakeS3) -> None:
    folder = put_job(s3, "one", model=model(PEOPLE), output=output(unreadable=["zoe/1.jpg", "bob/2.jpg"]))
    found, done = forget(s3)
    assert why(found) == {"one": outputs.TRAINED}
    files = untar(s3.body(OUTPUTS, f"{folder}output/model.tar.gz"))
    assert files["classes.csv"] == classes(["ada", "bob"])
    assert centres_in(files["head.safetensors"]) == [0.0, 2.0]
    assert files["backbone.pth"] == b"weights" * 100
    assert DAY in files[NOTE_NAME].decode()
    assert untar(s3.body(OUTPUTS, f"{folder}output/output.tar.gz"))["unreadable.csv"].splitlines() == [
        b"channel,file,reason",
        b"images,bob/2.jpg,is cut short",
    ]
    assert traces(s3) == []
    assert not done.left


def test_nothing_older_stays_of_what_was_written_anew_nor_any_checkpoint(s3: FakeS3) -> None:
    folder = put_job(s3, "one", model=model(["zoe", "bob"]))
    s3.put(OUTPUTS, f"{folder}output/model.tar.gz", model(PEOPLE))
    s3.put(OUTPUTS, "checkpoints/staff/one/step-1/state", None)
    _, done = forget(s3)
    assert s3.versions(OUTPUTS, f"{folder}output/model.tar.gz") == 1
    assert not [key for key, _ in s3.everything() if key.startswith("checkpoints/")]
    assert (done.objects, done.versions) == (1, 3)
    assert traces(s3) == []


def test_a_model_that_was_deleted_goes_for_good(s3: FakeS3) -> None:
    folder = put_job(s3, "one", model=model(PEOPLE))
    s3.put(OUTPUTS, f"{folder}output/model.tar.gz", None)
    forget(s3)
    assert s3.versions(OUTPUTS, f"{folder}output/model.tar.gz") == 0


def test_job_and_model_are_marked_with_no_name(s3: FakeS3) -> None:
    folder = put_job(s3, "one", model=model(PEOPLE))
    found = find(s3, SageMaker(), PLATFORM, ZOE)
    sagemaker = SageMaker("one")
    settle(s3, sagemaker, ZOE, found, DAY)
    assert marks.read(s3, S3Uri(OUTPUTS, folder)) == (marks.Mark("d" * 64, DAY, "trained on", learnt=True),)
    tag = [{"Key": "facetrain:forgotten", "Value": DAY}]
    assert s3.get_object_tagging(OUTPUTS, f"{folder}output/model.tar.gz")["TagSet"] == tag
    assert sagemaker.tags == {"arn:one": tag}


def test_a_job_that_the_service_lists_no_longer_is_marked_all_the_same(s3: FakeS3) -> None:
    folder = put_job(s3, "long-gone", model=model(PEOPLE))
    _, done = forget(s3)
    assert not done.left
    assert marks.read(s3, S3Uri(OUTPUTS, folder))


# -- Faces -------------------------------------------------------------------------------------------------


def test_faces_of_who_was_verified_on_go_and_the_model_stays_as_it_is(s3: FakeS3) -> None:
    folder = put_job(s3, "one", model=model(["ada", "bob"]), output=output(verified=["eve", "zoe"]))
    before = s3.body(OUTPUTS, f"{folder}output/model.tar.gz")
    found, _ = forget(s3)
    assert why(found) == {"one": outputs.VERIFIED}
    files = untar(s3.body(OUTPUTS, f"{folder}output/output.tar.gz"))
    assert FACE.encode() not in files["report.html"]
    assert files["report.html"].count(b"<img src=") == 2
    assert files["verified.csv"] == b"channel,identity\r\nimages,eve\r\n"
    assert s3.body(OUTPUTS, f"{folder}output/model.tar.gz") == before
    assert marks.sentence(marks.read(s3, S3Uri(OUTPUTS, folder))) is None
    assert [key for key, _ in s3.everything() if key.startswith("checkpoints/")]


def test_faces_of_others_stay_where_a_table_says_whose_they_are(s3: FakeS3) -> None:
    folder = put_job(s3, "one", model=model(PEOPLE), output=output(verified=["eve"]))
    before = s3.body(OUTPUTS, f"{folder}output/output.tar.gz")
    forget(s3)
    assert s3.body(OUTPUTS, f"{folder}output/output.tar.gz") == before


def test_faces_of_a_set_without_names_go_with_the_persons_job(s3: FakeS3) -> None:
    folder = put_job(s3, "one", model=model(PEOPLE), output=output(verified=["eve", ""]))
    forget(s3)
    assert FACE.encode() not in untar(s3.body(OUTPUTS, f"{folder}output/output.tar.gz"))["report.html"]


def test_faces_of_nobody_knows_whom_go_in_every_job_that_read_the_persons_pictures(s3: FakeS3) -> None:
    folder = put_job(s3, "one", model=model(["ada", "bob"]), output=output())
    other = put_job(s3, "two", "guests", model=model(["eve"]), output=output())
    found, _ = forget(s3, read=[S3Uri(INPUTS, "inputs/staff/")])
    assert why(found) == {"one": outputs.READ}
    assert FACE.encode() not in untar(s3.body(OUTPUTS, f"{folder}output/output.tar.gz"))["report.html"]
    assert FACE.encode() in untar(s3.body(OUTPUTS, f"{other}output/output.tar.gz"))["report.html"]


def test_a_job_from_before_the_person_came_is_left_alone(s3: FakeS3) -> None:
    put_job(s3, "one", model=model(["ada", "bob"]), output=output(verified=["eve"]))
    assert find(s3, SageMaker(), PLATFORM, ZOE, [S3Uri(INPUTS, "inputs/staff/")]) == Outputs()


def test_a_job_that_failed_leaves_checkpoints_that_go_where_it_read_the_persons_pictures(s3: FakeS3) -> None:
    put_job(s3, "failed")
    forget(s3)
    assert [key for key, _ in s3.everything() if key.startswith("checkpoints/")]
    found, done = forget(s3, read=[S3Uri(INPUTS, "inputs/staff/")])
    assert why(found) == {"failed": outputs.READ}
    assert not [key for key, _ in s3.everything() if key.startswith("checkpoints/")]
    assert (done.jobs, done.models) == (1, 0)


def test_a_job_by_hand_has_no_record_and_the_service_tells_what_it_read(s3: FakeS3) -> None:
    name = f"{PLATFORM.job_prefix}-face-training-1"
    s3.put(OUTPUTS, f"checkpoints/face-inputs/{name}/step-1/state", b"centres of all")
    folder = S3Uri(INPUTS, "inputs/staff/images/zoe/")
    elsewhere = SageMaker(name, images=f"s3://{INPUTS}/inputs/guests/images/")
    assert find(s3, elsewhere, PLATFORM, ZOE, [folder]) == Outputs()
    there = SageMaker(name, images=f"s3://{INPUTS}/inputs/staff/images/")
    found = find(s3, there, PLATFORM, ZOE, [folder])
    assert why(found) == {name: outputs.READ}
    settle(s3, there, ZOE, found, DAY)
    assert not [key for key, _ in s3.everything() if key.startswith("checkpoints/")]


# -- Which models learnt -----------------------------------------------------------------------------------


def lineage(job: str, *ancestors: str, **more: Any) -> dict[str, Any]:
    start = {"name": "model.tar.gz", "sha256": "0", "jobs": list(ancestors)}
    return {"job": job, "dataset": "staff", "from": start if ancestors else None} | more


def test_models_that_started_from_one_that_learnt_are_found_through_any_number_of_jobs(s3: FakeS3) -> None:
    put_job(s3, "one", model=model(PEOPLE, lineage("one")))
    put_job(s3, "two", "guests", model=model(["eve"], lineage("two", "one")))
    put_job(s3, "three", "guests", model=model(["eve"], lineage("three", "two")))
    put_job(s3, "other", "guests", model=model(["eve"], lineage("other", "elsewhere")))
    before = s3.body(OUTPUTS, "outputs/guests/three/output/model.tar.gz")
    found, done = forget(s3)
    assert why(found) == {
        "one": outputs.TRAINED,
        "two": "fine-tuned from one",
        "three": "fine-tuned from two",
    }
    assert done.models == 3
    assert s3.body(OUTPUTS, "outputs/guests/three/output/model.tar.gz") == before
    assert [key for key, _ in s3.everything() if key.startswith("checkpoints/guests/three/")]
    assert marks.sentence(marks.read(s3, S3Uri(OUTPUTS, "outputs/guests/three/"))) == (
        "learnt from a person who must be forgotten since 2026-11-22: train again without them"
    )


def test_a_bare_weight_file_is_known_by_its_digest(s3: FakeS3) -> None:
    put_job(s3, "one", model=model(PEOPLE, lineage("one", files={"backbone.pth": "abc"})))
    start = {"name": "backbone.pth", "sha256": "abc", "jobs": []}
    put_job(s3, "two", model=model(["eve"], {"job": "two", "from": start}))
    assert why(find(s3, SageMaker(), PLATFORM, ZOE))["two"] == "fine-tuned from backbone.pth"


def test_without_lineage_the_weights_channel_tells(s3: FakeS3) -> None:
    s3.put(INPUTS, "inputs/guests/weights/staff.tar.gz", model(PEOPLE))
    put_job(s3, "two", "guests", weights=f"s3://{INPUTS}/inputs/guests/weights/", model=model(["eve"]))
    put_job(s3, "other", "guests", weights=f"s3://{INPUTS}/inputs/guests/others/", model=model(["eve"]))
    assert why(find(s3, SageMaker(), PLATFORM, ZOE)) == {"two": "fine-tuned from staff.tar.gz"}


def test_copies_of_a_model_among_the_inputs_lose_the_person_too(s3: FakeS3) -> None:
    s3.put(INPUTS, "inputs/guests/weights/staff.tar.gz", model(PEOPLE))
    loose = "inputs/guests/loose/"
    s3.put(INPUTS, f"{loose}classes.csv", classes(PEOPLE))
    s3.put(INPUTS, f"{loose}head.safetensors", head([5.0, 6.0, 7.0]))
    _, done = forget(s3)
    assert centres_in(s3.body(INPUTS, f"{loose}head.safetensors")) == [5.0, 7.0]
    assert s3.body(INPUTS, f"{loose}classes.csv") == classes(["ada", "bob"])
    assert s3.versions(INPUTS, f"{loose}head.safetensors") == 1
    assert traces(s3) == []
    assert not done.left


def test_a_model_in_a_folder_of_an_archive_is_one_too(s3: FakeS3) -> None:
    files = {f"model/{name}": content for name, content in untar(model(PEOPLE)).items()}
    s3.put(INPUTS, "inputs/guests/weights/staff.tgz", tar(files))
    forget(s3)
    found = untar(s3.body(INPUTS, "inputs/guests/weights/staff.tgz"))
    assert found["model/classes.csv"] == classes(["ada", "bob"])
    assert centres_in(found["model/head.safetensors"]) == [0.0, 2.0]


def test_somebody_elses_table_of_that_name_is_a_table_like_any_other(s3: FakeS3) -> None:
    table = b"file,person\nzoe/1.jpg,zoe\nbob/1.jpg,bob\n"
    s3.put(INPUTS, "inputs/staff/images/classes.csv", table)
    s3.put(INPUTS, "inputs/staff/photos.tgz", tar({"photos/classes.csv": table}))
    found, done = forget(s3)
    assert [one.key for one in found.objects] == ["inputs/staff/photos.tgz"]
    rest = untar(s3.body(INPUTS, "inputs/staff/photos.tgz"))["photos/classes.csv"]
    assert rest == b"file,person\nbob/1.jpg,bob\n"
    assert not done.left


def test_pictures_in_an_archive_among_the_inputs_go_by_their_folder(s3: FakeS3) -> None:
    files = {"photos/zoe/1.jpg": b"zoe", "photos/bob/1.jpg": b"bob", "photos/bob/zoe.jpg": b"a zebra"}
    s3.put(INPUTS, "inputs/staff/photos.tgz", tar(files))
    s3.put(INPUTS, "inputs/guests/photos.tgz", tar(files))
    forget(s3, Person(Named("zoe"), "d" * 64, "staff"))
    assert set(untar(s3.body(INPUTS, "inputs/staff/photos.tgz"))) == {
        "photos/bob/1.jpg",
        "photos/bob/zoe.jpg",
    }
    assert len(untar(s3.body(INPUTS, "inputs/guests/photos.tgz"))) == 3


def test_who_is_forgotten_in_one_dataset_stays_in_another(s3: FakeS3) -> None:
    folder = put_job(s3, "one", "guests", model=model(PEOPLE), output=output(verified=["zoe"]))
    s3.put(INPUTS, "inputs/guests/weights/model.tar.gz", model(PEOPLE, {"job": "one", "dataset": "guests"}))
    person = Person(Named("zoe"), "d" * 64, "staff")
    found, done = forget(s3, person)
    assert found == Outputs()
    assert done == Settled()
    assert "zoe" in untar(s3.body(OUTPUTS, f"{folder}output/model.tar.gz"))["classes.csv"].decode()


def test_a_job_of_another_dataset_that_read_this_ones_pictures_is_found_by_its_channels(s3: FakeS3) -> None:
    folder = put_job(s3, "one", "staff", model=model(PEOPLE))
    person = Person(Named("zoe"), "d" * 64, "archive")  # whose pictures the manifest of staff names
    found, _ = forget(s3, person, read=[S3Uri(INPUTS, "inputs/staff/images/")])
    assert why(found) == {"one": outputs.TRAINED}
    assert traces(s3) == []
    assert s3.versions(OUTPUTS, f"{folder}output/model.tar.gz") == 1
