"""Uploads that were cut off hold pictures, too, and nobody can look into them."""

from facetrain.forgetting import unfinished
from facetrain.forgetting.removal import Left
from tests.forgetting.fake_s3 import FakeS3
from tests.forgetting.photos import INPUTS, OUTPUTS

UPLOADS = [
    (INPUTS, "inputs/staff/images/000000.tar", "1"),
    (INPUTS, "inputs/staff-old/images/000000.tar", "2"),
    (INPUTS, "elsewhere/000000.tar", "3"),
    (OUTPUTS, "outputs/staff/job/output/model.tar.gz", "4"),
]


def end(s3: FakeS3, dataset: str) -> tuple[list[Left], list[str]]:
    notes: list[str] = []
    return unfinished.end(s3, INPUTS, dataset, notes.append), notes


def test_those_of_every_dataset_are_ended_and_no_others() -> None:
    s3 = FakeS3(uploads=list(UPLOADS))
    left, notes = end(s3, "*")
    assert (s3.uploads, left) == (UPLOADS[2:], [])
    assert notes == ["2 unfinished uploads were ended, for nobody can look into them"]


def test_where_one_dataset_is_named_only_its_own_are() -> None:
    s3 = FakeS3(uploads=list(UPLOADS))
    assert end(s3, "staff")[0] == []
    assert s3.uploads == UPLOADS[1:]


def test_without_any_nothing_is_said() -> None:
    assert end(FakeS3(), "*") == ([], [])


def test_a_permission_that_lacks_is_told_and_nothing_is_claimed() -> None:
    s3 = FakeS3(uploads=list(UPLOADS), denied={"ListMultipartUploads"})
    assert end(s3, "*")[0] == [Left("*", "unfinished uploads", "inputs/", "AccessDenied")]
    s3.denied = {"AbortMultipartUpload"}
    left = end(s3, "*")[0]
    assert [(one.key, one.why) for one in left] == [
        (UPLOADS[0][1], "AccessDenied"),
        (UPLOADS[1][1], "AccessDenied"),
    ]
