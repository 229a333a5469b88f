"""What an algorithm is, is said once: another entry is all that manifests, schema and requests need."""

import json

import jsonschema
import pytest

from facetrain.folder import hyperparameters
from tests.jobs.examples import NOW
from training.jobs.algorithms import ALGORITHMS, Algorithm, Knob, Metric
from training.jobs.manifest import ManifestError, parse
from training.jobs.platform import Platform
from training.jobs.request import build_request
from training.jobs.schema import manifest_schema
from training.jobs.uri import S3Uri

THIRD = Algorithm(
    "poses",
    {"joints": Knob(int, 17, "points of a body", minimum=1, maximum=100)},
    (Metric("validation:oks", "oks=([0-9.]+)"),),
    channels=("images", "labels"),
    required_channels=("images", "labels"),
    identities=False,
)
DOCUMENT = {
    "schema": 1,
    "algorithm": "poses",
    "channels": {"images": "images/", "labels": "labels/"},
    "hyperparameters": {"joints": 5},
}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALGORITHMS, "poses", THIRD)


def test_its_manifest_becomes_its_request() -> None:
    platform = Platform.example()
    location = S3Uri(platform.inputs_bucket, "inputs/gym/manifest.json")
    request = build_request(
        parse(json.dumps(DOCUMENT), location, platform, NOW), platform, "job", forgotten=True
    )
    assert request["AlgorithmSpecification"] == {
        "TrainingImage": platform.images["poses"],
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "validation:oks", "Regex": "oks=([0-9.]+)"}],
    }
    assert request["HyperParameters"] == {"algorithm": "poses", "joints": "5"}
    assert [channel["ChannelName"] for channel in request["InputDataConfig"]] == ["images", "labels"]


def test_its_mistakes_are_told_like_any() -> None:
    platform = Platform.example()
    location = S3Uri(platform.inputs_bucket, "inputs/gym/manifest.json")
    wrong = DOCUMENT | {"channels": {"images": "images/", "cfg": "cfg/"}, "hyperparameters": {"joint": 5}}
    with pytest.raises(ManifestError) as refused:
        parse(json.dumps(wrong), location, platform, NOW)
    assert [problem.path for problem in refused.value.problems] == [
        "channels.labels",
        "channels.cfg",
        "hyperparameters.joint",
    ]


def test_the_schema_and_the_command_line_know_it() -> None:
    jsonschema.validate(DOCUMENT, manifest_schema())
    with pytest.raises(jsonschema.ValidationError, match="joint"):
        jsonschema.validate(DOCUMENT | {"hyperparameters": {"joint": 5}}, manifest_schema())
    assert hyperparameters("poses", ["joints=7"]) == {"joints": 7}
