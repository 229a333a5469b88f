"""`facetrain forget` shows everything, asks, acts in an order that loses nothing, and leaves a record."""

import copy
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from facetrain.cli import forget as command
from facetrain.cli.entry import run
from facetrain.client import Connection, Deployment
from facetrain.forgetting import audit, running
from facetrain.storage import Store
from tests.forgetting.fake_s3 import FakeS3
from tests.forgetting.photos import INPUTS, PLATFORM, folders, picture
from training.jobs import contract
from training.jobs.forgotten import Forgotten

ARN = "arn:aws:iam::000000000000:user/clerk"


class Sts:
    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": ARN}


@dataclass
class SageMaker:
    """Running jobs by name, and the prefix that each reads; `log` hears of stops."""

    running: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    stubborn: bool = False

    def get_paginator(self, _: str) -> "SageMaker":
        return self

    def paginate(self, StatusEquals: str) -> list[dict[str, Any]]:
        names = (
            [name for name in self.running if name not in self.log] if StatusEquals == "InProgress" else []
        )
        return [{"TrainingJobSummaries": [{"TrainingJobName": name} for name in names]}]

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        if TrainingJobName not in self.running:
            raise ClientError({"Error": {"Code": "ValidationException"}}, "DescribeTrainingJob")
        uri = f"s3://{INPUTS}/{self.running[TrainingJobName]}"
        ended = TrainingJobName in self.log and not self.stubborn
        return {
            "TrainingJobArn": f"arn:{TrainingJobName}",
            "TrainingJobStatus": "Stopped" if ended else "InProgress",
            "InputDataConfig": [{"DataSource": {"S3DataSource": {"S3Uri": uri}}}],
        }

    def stop_training_job(self, TrainingJobName: str) -> None:
        self.log.append(TrainingJobName)

    def add_tags(self, **_: Any) -> None:
        """Of jobs that learnt."""


class StagedConnection(Connection):
    """To an account that is in memory."""

    def __init__(self, services: dict[str, Any]):
        super().__init__()
        self.services = services

    def client(self, service: str) -> Any:
        return self.services[service]


@pytest.fixture
def s3() -> FakeS3:
    made = FakeS3()
    folders(made)
    return made


@pytest.fixture
def jobs() -> SageMaker:
    return SageMaker()


Ran = tuple[int, str, str]
Facetrain = Callable[..., Ran]


@pytest.fixture
def facetrain(
    s3: FakeS3, jobs: SageMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Facetrain:
    def call(*arguments: str, answer: str | None = None, store: FakeS3 = s3) -> Ran:
        services = {"s3": store, "sagemaker": jobs, "sts": Sts()}
        staged = Deployment(StagedConnection(services), PLATFORM)
        monkeypatch.setattr(command, "deployment", lambda *_: staged)
        stdin = io.StringIO(answer or "")
        monkeypatch.setattr(stdin, "isatty", lambda: answer is not None)
        monkeypatch.setattr("sys.stdin", stdin)
        capsys.readouterr()
        code = run(("forget", *arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def listed(s3: FakeS3) -> Forgotten:
    return Forgotten.parse(s3.body(INPUTS, contract.FORGOTTEN_KEY))


def records(s3: FakeS3) -> list[dict[str, Any]]:
    return [json.loads(s3.body(INPUTS, key)) for _, key in sorted(s3.objects) if key.startswith(audit.PREFIX)]


def holds(s3: FakeS3, who: str = "zoe") -> bool:
    return any(f"/{who}/" in key or who.encode() in body for key, body in s3.everything())


def test_everything_is_shown_and_nothing_done_without_a_yes(s3: FakeS3, facetrain: Facetrain) -> None:
    before = copy.deepcopy(s3.objects)
    code, out, err = facetrain("zoe", answer="n\n")
    assert code == 2
    assert "inputs/staff/images/zoe/" in out
    assert "Delete all this? [y/N]" in err
    assert s3.objects == before


def test_a_yes_deletes_and_says_what_was_done(s3: FakeS3, facetrain: Facetrain) -> None:
    code, out, err = facetrain("zoe", answer="y\n")
    assert code == 0
    assert "2 versions deleted" in out
    assert err.endswith("forgotten; jobs that start from now on leave the person out\n")
    assert not holds(s3)
    assert listed(s3).holds("any dataset", "zoe")
    assert not listed(s3).holds("any dataset", "ada")


def test_a_dry_run_shows_and_changes_nothing(s3: FakeS3, facetrain: Facetrain) -> None:
    before = copy.deepcopy(s3.objects)
    code, out, _ = facetrain("zoe", "--dry-run", "--json")
    assert code == 0
    found = json.loads(out)["found"]
    assert {one["key"] for one in found} == {f"s3://{INPUTS}/inputs/staff/images/zoe/{n}.jpg" for n in (0, 1)}
    assert s3.objects == before


def test_where_nobody_can_be_asked_the_answer_is_an_option(facetrain: Facetrain) -> None:
    code, _, err = facetrain("zoe")
    assert (code, err) == (2, "--yes: is needed where nobody can be asked; --dry-run shows what there is\n")


def test_a_dataset_that_is_not_there_is_refused_with_the_nearest(
    facetrain: Facetrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "names_in", lambda *_: ["staff/", "guests/"])
    code, _, err = facetrain("zoe", "--dataset", "staf", "--yes")
    assert (code, err) == (2, '--dataset: there is no dataset "staf" (did you mean "staff"?)\n')


def test_an_empty_name_is_refused(facetrain: Facetrain) -> None:
    assert facetrain(" ", "--yes")[0] == 2


def test_the_record_says_everything_but_who(s3: FakeS3, facetrain: Facetrain) -> None:
    facetrain("zoe", "--yes")
    (record,) = records(s3)
    assert b"zoe" not in json.dumps(record).encode()
    assert record["by"] == ARN
    assert record["identity"] == listed(s3).digest("zoe")
    assert record["datasets"] == ["staff"]
    size = sum(len(picture("zoe", number)) for number in (0, 1))
    assert record["inputs"] == {"objects": 2, "versions": 2, "bytes": size}
    assert record["complete"]
    assert record["left"] == []


def test_what_is_left_is_in_the_record_without_a_key_and_fails_the_command(
    s3: FakeS3, facetrain: Facetrain
) -> None:
    s3.denied.add("DeleteObjectVersion")
    code, _, err = facetrain("zoe", "--yes")
    assert code == 1
    assert err.splitlines()[-1] == (
        "facetrain: 2 objects of the inputs bucket still hold the person, such as "
        "inputs/staff/images/zoe/0.jpg (AccessDenied): have these credentials granted s3:DeleteObject, "
        "s3:DeleteObjectVersion and s3:PutObject on it, then run this again; the deletion list already holds"
    )
    (record,) = records(s3)
    assert not record["complete"]
    assert record["left"] == [{"dataset": "staff", "kind": "picture", "objects": 2, "why": "AccessDenied"}]


def test_the_record_names_no_file_that_cannot_be_read(s3: FakeS3, facetrain: Facetrain) -> None:
    s3.put(INPUTS, "inputs/rec/images/zoe.rec", b"no record")
    s3.put(INPUTS, "inputs/rec/images/identities.csv", b"class,identity\n0,zoe\n1,bob\n")
    code, _, err = facetrain("zoe", "--yes")
    assert code == 1
    unread, waits = err.splitlines()[-2:]
    assert unread.startswith("facetrain: inputs/rec/images/zoe.rec cannot be read (")
    assert unread.endswith("upload it again or delete it, then run this again")
    assert waits.startswith(
        "facetrain: 1 object of the inputs bucket still holds the person, such as inputs/rec"
    )
    (record,) = records(s3)
    assert {"dataset": "rec", "kind": "unread", "objects": 1, "why": "cannot be read"} in record["left"]
    assert "zoe" not in json.dumps(record)


def test_a_reader_that_lacks_a_permission_changes_nothing(s3: FakeS3, facetrain: Facetrain) -> None:
    before = copy.deepcopy(s3.objects)
    s3.denied.add("ListObjectVersions")
    code, _, err = facetrain("zoe", "--yes")
    assert code == 1
    assert err.splitlines()[-1].endswith("these credentials lack that permission")
    assert s3.objects == before


def test_who_may_write_no_record_deletes_nothing(s3: FakeS3, facetrain: Facetrain) -> None:
    s3.denied.add("PutObject of audit")
    code, _, err = facetrain("zoe", "--yes")
    assert code == 1
    assert err.splitlines()[-1].endswith("these credentials lack that permission")
    assert len([key for _, key in s3.objects if "/zoe/" in key]) == 2
    assert listed(s3).holds("staff", "zoe")


def test_a_run_that_was_cut_off_is_on_record(s3: FakeS3, facetrain: Facetrain) -> None:
    s3.after = 2
    facetrain("zoe", "--yes")
    (record,) = records(s3)
    assert not record["complete"]
    assert record["left"] == [{"kind": "run", "why": "began, and has not come to its end"}]


@pytest.mark.parametrize("there", ["Zo\u00eb", "Zoe\u0308"])
def test_the_record_spells_the_name_in_no_way(s3: FakeS3, facetrain: Facetrain, there: str) -> None:
    s3.put(PLATFORM.outputs_bucket, f"outputs/staff/{there}/output/model.tar.gz", b"no archive")
    facetrain("Zo\u00eb", "--yes")
    (record,) = records(s3)
    assert record["left"][0]["why"].startswith(f"s3://{PLATFORM.outputs_bucket}/outputs/staff/…/output/")


def test_running_jobs_that_read_the_person_end_before_the_pictures_go(
    s3: FakeS3, jobs: SageMaker, facetrain: Facetrain
) -> None:
    jobs.running = {"reads": "inputs/staff/images/", "does-not": "inputs/guests/images/"}
    code, out, _ = facetrain("zoe", "--yes")
    assert code == 0
    assert "job reads reads them now: it will be stopped" in out
    assert jobs.log == ["reads"]
    assert records(s3)[0]["stopped"] == ["reads"]


def test_a_job_that_does_not_stop_is_told(
    s3: FakeS3, jobs: SageMaker, facetrain: Facetrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.running, jobs.stubborn = {"reads": "inputs/staff/images/"}, True
    monkeypatch.setattr(running, "PATIENCE_SECONDS", -1.0)
    code, _, err = facetrain("zoe", "--yes")
    assert code == 1
    assert "reads did not stop in time: wait for its end, then run this again" in err
    assert records(s3)[0]["left"] == [{"kind": "running job", "job": "reads", "why": "did not stop in time"}]


def test_somebody_who_is_nowhere_can_be_put_on_the_list(s3: FakeS3, facetrain: Facetrain) -> None:
    code, _, err = facetrain("nobody", answer="y\n")
    assert code == 0
    assert "Nobody of that name is found. Put it on the deletion list? [y/N]" in err
    assert listed(s3).holds("staff", "nobody")


def test_one_dataset_alone_is_on_the_list_for_that_dataset(s3: FakeS3, facetrain: Facetrain) -> None:
    folders(s3, "guests")
    facetrain("zoe", "--dataset", "guests", "--yes")
    assert listed(s3).holds("guests", "zoe")
    assert not listed(s3).holds("staff", "zoe")
    assert holds(s3)


def test_killed_at_any_change_a_second_run_finishes(s3: FakeS3, facetrain: Facetrain) -> None:
    whole = copy.deepcopy(s3)
    assert facetrain("zoe", "--yes", store=whole)[0] == 0
    for after in range(whole.changes):
        killed = copy.deepcopy(s3)
        killed.after = after
        assert facetrain("zoe", "--yes", store=killed)[0] in (1, 130)
        killed.after = None
        assert facetrain("zoe", answer="y\n", store=killed)[0] == 0
        assert not holds(killed)
        assert len(listed(killed).entries) == 1
        assert sum(record["complete"] for record in records(killed)) == 1


# -- the deletion list ---------------------------------------------------------------------------------------


def test_a_list_that_somebody_deleted_is_not_begun_anew(s3: FakeS3, facetrain: Facetrain) -> None:
    facetrain("bob", "--yes")
    s3.put(INPUTS, contract.FORGOTTEN_KEY, None)
    code, _, err = facetrain("zoe", "--yes")
    assert code == 1
    assert err.startswith(f"facetrain: s3://{INPUTS}/{contract.FORGOTTEN_KEY} was deleted: put an older")
    assert holds(s3)


def test_a_list_that_cannot_be_read_stops_everything(s3: FakeS3, facetrain: Facetrain) -> None:
    s3.put(INPUTS, contract.FORGOTTEN_KEY, b"[]")
    code, _, err = facetrain("zoe", "--yes")
    assert code == 1
    assert err.startswith(f"facetrain: s3://{INPUTS}/{contract.FORGOTTEN_KEY} is not of schema 1")
    assert holds(s3)
