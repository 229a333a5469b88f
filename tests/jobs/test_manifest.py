"""A manifest is read whole, and everything that is wrong with it is said at once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.jobs.examples import LOCATION, NOW, PLATFORM, SMALLEST, parsed, problems_of
from training.jobs.manifest import ManifestError, check_channels, dataset_of, parse
from training.jobs.resources import Resources
from training.jobs.uri import S3Uri


def test_data_is_copied_to_the_disk_where_nothing_else_is_said() -> None:
    assert [parsed(SMALLEST | mode).input_mode for mode in ({}, {"input_mode": "FastFile"})] == [
        "File",
        "FastFile",
    ]


def test_the_smallest_manifest_takes_everything_else_from_the_deployment() -> None:
    manifest = parsed(SMALLEST)
    assert manifest.channels == {"images": S3Uri(PLATFORM.inputs_bucket, "inputs/staff/images/")}
    assert manifest.resources == PLATFORM.defaults
    assert manifest.hyperparameters == {}
    assert manifest.dataset == "staff"


def test_the_fullest_manifest_is_taken_as_it_says() -> None:
    document = SMALLEST | {
        "channels": {
            "images": "images/",
            "labels": "labels.csv",
            "cfg": "cfg",
            "weights": f"s3://{PLATFORM.inputs_bucket}/inputs/pretrained/r50/",
        },
        "hyperparameters": {"network": "r50", "epochs": 20},
        "resources": {
            "instance_type": "ml.g6.2xlarge",
            "instance_count": 2,
            "volume_gb": 200,
            "spot": True,
            "max_runtime_hours": 24,
            "max_wait_hours": 48,
        },
        "governance": {
            "legal_basis": "consent",
            "source": "staff enrolment 2026",
            "expires_at": "2027-06-30",
        },
    }
    manifest = parsed(document)
    assert str(manifest.channels["labels"]).endswith("/inputs/staff/labels.csv")
    assert str(manifest.channels["cfg"]).endswith("/inputs/staff/cfg/")
    assert str(manifest.channels["weights"]).endswith("/inputs/pretrained/r50/")
    assert manifest.hyperparameters == {"network": "r50", "epochs": 20}
    assert manifest.resources == Resources("ml.g6.2xlarge", 2, 200, True, 24, 48)
    assert manifest.governance["expires_at"] == "2027-06-30"


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"schema": 2}, "schema", "2 is not known"),
        ({"schema": None}, "schema", "is missing"),
        ({"schema": True}, "schema", "true is not known"),
        ({"schema": "1"}, "schema", '"1" is not known'),
        ({"algorithm": "arcfase"}, "algorithm", 'did you mean "arcface"?'),
        ({"algorithm": None}, "algorithm", "is missing"),
        ({"algorithm": ["arcface"]}, "algorithm", "is not known"),
        ({"chanels": {}}, "chanels", 'did you mean "channels"?'),
        ({"input_mode": "Fastfile"}, "input_mode", 'did you mean "FastFile"?'),
        ({"input_mode": "Pipe"}, "input_mode", '"Pipe" is not known'),
        ({"input_mode": None}, "input_mode", "null is not known"),
        ({"channels": {}}, "channels.images", "is missing"),
        ({"channels": None}, "channels", "is not an object"),
        ({"channels": {"images": "images/", "lables": "x.csv"}}, "channels.lables", 'did you mean "labels"?'),
        ({"channels": {"images": ""}}, "channels.images", "is empty"),
        ({"channels": {"images": "."}}, "channels.images", "leaves the manifest's folder"),
        ({"channels": {"images": "../other/images/"}}, "channels.images", "leaves the manifest's folder"),
        ({"channels": {"images": "/images/"}}, "channels.images", "leaves the manifest's folder"),
        ({"channels": {"images": "a//b/"}}, "channels.images", "empty parts"),
        ({"channels": {"images": ["images/"]}}, "channels.images", "is not a path"),
        ({"channels": {"images": "s3://elsewhere/images/"}}, "channels.images", "does not allow"),
        ({"channels": {"images": "https://elsewhere/images/"}}, "channels.images", "is not an S3 address"),
        ({"channels": {"images": "s3://Upper_Case/x/"}}, "channels.images", "names no valid bucket"),
        (
            {"channels": {"images": f"s3://{PLATFORM.inputs_bucket}/private/"}},
            "channels.images",
            "not below inputs/",
        ),
        ({"hyperparameters": {"epoch": 3}}, "hyperparameters.epoch", 'did you mean "epochs"?'),
        ({"hyperparameters": {"epochs": 0}}, "hyperparameters.epochs", "at least 1"),
        ({"hyperparameters": {"epochs": 2.5}}, "hyperparameters.epochs", "not a whole number"),
        ({"hyperparameters": {"epochs": "20"}}, "hyperparameters.epochs", "write 20 without quotes"),
        ({"hyperparameters": {"epochs": "many"}}, "hyperparameters.epochs", "write 20 without quotes"),
        ({"hyperparameters": {"epochs": True}}, "hyperparameters.epochs", "not a number"),
        ({"hyperparameters": {"epochs": 10**400}}, "hyperparameters.epochs", "not a whole number"),
        ({"hyperparameters": {"lr": 0}}, "hyperparameters.lr", "above 0"),
        ({"hyperparameters": {"flip": 1}}, "hyperparameters.flip", "neither true nor false"),
        ({"hyperparameters": {"network": "r5O"}}, "hyperparameters.network", 'did you mean "r50"?'),
        ({"hyperparameters": {"network": 50}}, "hyperparameters.network", "is not a string"),
        ({"hyperparameters": []}, "hyperparameters", "is not an object"),
        ({"resources": {"instance": "ml.g5.xlarge"}}, "resources.instance", 'did you mean "instance_'),
        (
            {"resources": {"instance_type": "g5.xlarge"}},
            "resources.instance_type",
            'did you mean "ml.g5.xlarge"?',
        ),
        ({"resources": {"instance_type": "ml.p3.2xlarge"}}, "resources.instance_type", "is retired"),
        ({"resources": {"instance_type": 5}}, "resources.instance_type", "is not an instance type"),
        ({"resources": {"instance_count": 0}}, "resources.instance_count", "at least 1"),
        (
            {
                "algorithm": "yolov5",
                "channels": {"images": "images/", "cfg": "cfg/"},
                "resources": {"instance_count": 2},
            },
            "resources.instance_count",
            "yolov5 trains on one machine: write 1",
        ),
        ({"algorithm": "yolov5"}, "channels.cfg", 'is missing: add "cfg": "cfg/"'),
        (
            {"channels": {"images": "x" * 1020 + "/"}},  # in its folder too long for S3, which lists nothing
            "channels.images",
            "has a key of more than 1024 bytes",
        ),
        ({"resources": {"instance_count": "2"}}, "resources.instance_count", "not a whole number"),
        ({"resources": {"volume_gb": 1e9}}, "resources.volume_gb", "at most 16384"),
        ({"resources": {"spot": "yes"}}, "resources.spot", "neither true nor false"),
        ({"resources": {"max_runtime_hours": 0}}, "resources.max_runtime_hours", "at least one minute"),
        (
            {"resources": {"max_runtime_hours": 24, "max_wait_hours": 1}},
            "resources.max_wait_hours",
            "includes its running time",
        ),
        ({"governance": {"legal_bases": "consent"}}, "governance.legal_bases", 'did you mean "legal_basis"?'),
        ({"governance": {"expires_at": "30.06.2027"}}, "governance.expires_at", "is not a date"),
        ({"governance": {"expires_at": "2027-02-30"}}, "governance.expires_at", "is not a date"),
        ({"governance": {"source": ""}}, "governance.source", "is not a text"),
        ({"governance": {"source": "x" * 300}}, "governance.source", "longer than 256"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_path_and_a_remedy(
    change: dict[str, Any], path: str, words: str
) -> None:
    (problem,) = problems_of(SMALLEST | change)
    assert problem.path == path
    assert words in problem.message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not JSON (line 1, column 1"),
        (b'{"schema": 1,', "is not JSON (line 1"),
        (b"[]", "must hold one object"),
        (b'{"schema": NaN}', "holds NaN"),
        (b'{"schema": 1, "schema": 1}', 'names "schema" twice'),
        ('{"schema": "é"}'.encode("latin-1"), "is not UTF-8"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"input_mode": "\\ud800"}', "holds half a character"),  # no UTF-8 could tell what is wrong
        (b" " * 300_000, "is larger than 256 KiB"),
    ],
)
def test_what_is_no_json_object_is_refused_as_a_whole(data: bytes, words: str) -> None:
    (problem,) = problems_of(data)
    assert problem.path == "$"
    assert words in problem.message


def test_all_problems_are_reported_at_once_even_with_a_misspelt_algorithm() -> None:
    document = {
        "algoritm": "arcface",
        "channels": {"image": "x"},
        "hyperparameters": {"lr": -1},
        "resources": {"spot": 1},
        "governance": {"expires_at": "soon"},
    }
    paths = {problem.path for problem in problems_of(document)}
    assert paths == {
        "algoritm",
        "schema",
        "algorithm",
        "channels.images",
        "channels.image",
        "hyperparameters.lr",
        "resources.spot",
        "governance.expires_at",
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from([*SMALLEST, "resources", "governance", "images", "epochs"]) | st.text(), inner
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_value_whatever_makes_the_reader_fail_otherwise(value: Any) -> None:
    problems_of(json.dumps(value))


@given(st.binary())
def test_no_bytes_whatever_make_the_reader_fail_otherwise(data: bytes) -> None:
    assert problems_of(data)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse(b"\xef\xbb\xbf" + json.dumps(SMALLEST).encode(), LOCATION, PLATFORM, NOW).dataset == "staff"


@pytest.mark.parametrize(
    "address",
    [
        "s3://{inputs}/manifest.json",
        "s3://{inputs}/inputs/manifest.json",
        "s3://{inputs}/other/x/manifest.json",
        "s3://{inputs}/inputs//manifest.json",
        "s3://another-bucket/inputs/staff/manifest.json",
    ],
)
def test_a_manifest_outside_a_dataset_folder_is_refused(address: str) -> None:
    location = S3Uri.parse(address.format(inputs=PLATFORM.inputs_bucket))
    (problem,) = problems_of(SMALLEST, location)
    assert problem.path == "$"
    assert "inputs/<dataset>/manifest.json" in problem.message


def test_folders_may_be_nested() -> None:
    assert dataset_of(S3Uri("b", "inputs/team/staff/manifest.json")) == "team/staff"


def test_overrides_of_a_direct_invocation_rank_above_the_manifest() -> None:
    document = SMALLEST | {"hyperparameters": {"epochs": 20, "seed": 7}}
    overrides = {"hyperparameters": {"epochs": 2}, "resources": {"spot": False}}
    manifest = parse(json.dumps(document), LOCATION, PLATFORM, NOW, overrides)
    assert manifest.hyperparameters == {"epochs": 2, "seed": 7}
    assert not manifest.resources.spot


@pytest.mark.parametrize("overrides", [{"channels": {}}, {"hyperparameters": 5}, {"resources": {"spot": 5}}])
def test_wrong_overrides_are_refused(overrides: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        parse(json.dumps(SMALLEST), LOCATION, PLATFORM, NOW, overrides)


def test_a_longer_run_stretches_the_default_wait() -> None:
    manifest = parsed(SMALLEST | {"resources": {"max_runtime_hours": 100}})
    assert manifest.resources.max_wait_hours == 100


def test_an_empty_channel_gets_the_name_that_is_there() -> None:
    manifest = parsed(SMALLEST | {"channels": {"images": "image/", "labels": "lables.csv"}})
    problems = check_channels(
        manifest, lambda uri: False, lambda folder: ["images/", "labels.csv", "manifest.json"]
    )
    assert [str(problem) for problem in problems] == [
        f'channels.images: "image/" holds no objects in {LOCATION.folder} (did you mean "images/"?)',
        f'channels.labels: there is no object "lables.csv" in {LOCATION.folder} (did you mean "labels.csv"?)',
    ]


def test_a_manifest_dropped_before_its_data_is_told_so() -> None:
    (problem,) = check_channels(parsed(SMALLEST), lambda uri: False, lambda folder: ["manifest.json"])
    assert "upload the data, then the manifest again" in problem.message


def test_channels_that_hold_something_are_no_problem() -> None:
    assert check_channels(parsed(SMALLEST), lambda uri: True, lambda folder: []) == []
