"""What jobs left of a person, where it does not go well: killed, refused, damaged."""

import copy
from collections.abc import Callable

import pytest

from facetrain.forgetting import archives
from tests.forgetting.fake_s3 import FakeS3
from tests.forgetting.models import classes, head, model, output, tar, untar
from tests.forgetting.test_outputs import INPUTS, OUTPUTS, PEOPLE, forget, lineage, put_job, traces
from training.jobs.uri import S3Uri


def much(s3: FakeS3) -> FakeS3:
    """Some of everything."""
    put_job(s3, "one", model=model(PEOPLE, lineage("one")), output=output())
    put_job(s3, "two", "guests", model=model(["eve"], lineage("two", "one")), output=output(verified=["zoe"]))
    put_job(s3, "three", "guests", model=model(["eve"], lineage("three", "two")))
    s3.put(INPUTS, "inputs/guests/loose/classes.csv", classes(PEOPLE))
    s3.put(INPUTS, "inputs/guests/loose/head.safetensors", head([5.0, 6.0, 7.0]))
    return s3


def state(s3: FakeS3) -> dict[str, object]:
    return {
        key: untar(body) if key.endswith(archives.SUFFIXES) else body for key, body in sorted(s3.everything())
    }


def test_killed_at_any_moment_a_second_run_comes_to_the_same_end(s3: FakeS3) -> None:
    whole = copy.deepcopy(much(s3))
    forget(whole)
    assert whole.changes > 10
    for moment in range(whole.changes):
        killed = copy.deepcopy(s3)
        killed.after = moment
        with pytest.raises(KeyboardInterrupt):
            forget(killed)
        killed.after = None
        _, done = forget(killed)
        assert state(killed) == state(whole), moment
        assert not done.left
        assert traces(killed) == []


def test_where_versions_may_not_be_deleted_that_is_told_without_a_name_and_nothing_is_claimed(
    s3: FakeS3,
) -> None:
    much(s3).denied.add("DeleteObjectVersion")
    _, done = forget(s3)
    assert (done.versions, done.bytes) == (0, 0)
    said = "\n".join(done.left)
    assert f"s3://{OUTPUTS}/outputs/staff/one/output/: 1 version could not be deleted (AccessDenied)" in said
    assert f"s3://{OUTPUTS}/checkpoints/staff/one/step-1/" in said
    assert "zoe" not in said


def test_where_nothing_may_be_written_no_version_is_deleted(s3: FakeS3) -> None:
    folder = put_job(s3, "one", model=model(PEOPLE))
    s3.denied.add("PutObject")
    _, done = forget(s3)
    assert s3.versions(OUTPUTS, f"{folder}output/model.tar.gz") == 1
    assert any("PutObject: AccessDenied" in sentence for sentence in done.left)


def cut(archive: bytes) -> bytes:
    return archive[: len(archive) // 2]


@pytest.mark.parametrize("broken", [cut, lambda _: b"", lambda _: b"no archive at all"])
def test_an_archive_that_cannot_be_read_is_told_and_left(
    s3: FakeS3, broken: Callable[[bytes], bytes]
) -> None:
    folder = put_job(s3, "one", model=broken(model(PEOPLE)))
    _, done = forget(s3)
    (sentence,) = done.left
    assert sentence.startswith(f"s3://{OUTPUTS}/{folder}output/model.tar.gz cannot be read (")


@pytest.mark.parametrize(
    "lineage_json",
    [
        b"[" * 100_000,
        b"{",
        b"5",
        b'{"from": 5, "files": [], "job": {}}',
        b'{"from": {"jobs": 5, "sha256": []}}',
    ],
)
def test_a_lineage_that_is_none_of_ours_is_told_or_passed_over(s3: FakeS3, lineage_json: bytes) -> None:
    put_job(s3, "one", model=tar({"lineage.json": lineage_json}))
    put_job(s3, "two", model=model(PEOPLE))
    found, done = forget(s3)
    assert [job.name for job in found.jobs] == ["two"]
    assert all("outputs/staff/one/output/model.tar.gz cannot be read" in left for left in done.left)
    assert traces(s3) == []


@pytest.mark.parametrize(
    "record", [b"[" * 100_000, b'{"request": {"InputDataConfig": [5, {}, {"ChannelName": 1}]}}']
)
def test_a_record_that_is_none_of_ours_says_nothing_of_channels(s3: FakeS3, record: bytes) -> None:
    folder = put_job(s3, "one", model=model(PEOPLE))
    s3.put(OUTPUTS, f"{folder}job.json", record)
    forget(s3, read=[S3Uri(INPUTS, "inputs/staff/images/zoe/")])
    assert traces(s3) == []


def test_a_model_in_no_jobs_folder_is_written_anew_and_is_no_job(s3: FakeS3) -> None:
    s3.put(OUTPUTS, "outputs/backup.tar.gz", model(PEOPLE))
    put_job(s3, "one", model=model(["ada"]))
    found, done = forget(s3, read=[S3Uri(INPUTS, "inputs/other/images/zoe/")])
    assert not found.jobs
    assert traces(s3) == []
    assert not done.left


def test_a_table_with_cells_of_any_length_is_told(s3: FakeS3) -> None:
    s3.put(INPUTS, "inputs/guests/loose/classes.csv", b"class,identity\n0," + b"z" * 200_000)
    _, done = forget(s3)
    assert "inputs/guests/loose/classes.csv cannot be read" in done.left[0]
