"""forgotten.json in a job's folder: read by whoever looks at the job's model."""

import pytest

from facetrain.forgetting import marks
from facetrain.forgetting.marks import Mark
from tests.forgetting.fake_s3 import FakeS3
from training.jobs.uri import S3Uri

FOLDER = S3Uri("outputs", "outputs/staff/one/")
LEARNT = Mark("a" * 64, "2026-11-22", "trained on", learnt=True)


def test_a_persons_first_mark_stays_and_others_are_added() -> None:
    s3 = FakeS3()
    later = Mark("a" * 64, "2026-12-01", "read with their dataset", learnt=False)
    other = Mark("b" * 64, "2026-12-01", "trained on", learnt=True)
    assert [marks.add(s3, FOLDER, mark) for mark in (LEARNT, later, other)] == [True, False, True]
    assert marks.read(s3, FOLDER) == (LEARNT, other)
    assert marks.of_folder(s3, FOLDER) == (
        "learnt from 2 people who must be forgotten since 2026-11-22: train again without them"
    )


def test_of_a_job_without_a_mark_nothing_is_said() -> None:
    assert marks.of_folder(FakeS3(), FOLDER) is None


def test_to_who_may_not_read_it_nothing_is_said() -> None:
    s3 = FakeS3()
    marks.add(s3, FOLDER, LEARNT)
    s3.denied.add("GetObject")
    assert marks.of_folder(s3, FOLDER) is None


@pytest.mark.parametrize("content", [b"", b"[]", b'{"forgotten": [{"digest": "a"}]}', b'{"forgotten": 7}'])
def test_a_mark_that_is_not_ours_is_taken_for_the_worst(content: bytes) -> None:
    s3 = FakeS3()
    s3.put(FOLDER.bucket, marks.place_of(FOLDER).key, content)
    assert "learnt from a person" in (marks.of_folder(s3, FOLDER) or "")
