"""What jobs left of a person, where it does not go well: killed, refused, damaged."""

import copy
from collections.abc import Callable

import pytest

from facetrain.forgetting import archives
from tests.forgetting.fake_s3 import FakeS3
from tests.forgetting.models import classes, head, model, output, untar
from tests.forgetting.test_outputs import INPUTS, OUTPUTS, PEOPLE, forget, lineage, put_job, traces


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
