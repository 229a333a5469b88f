"""Settings are typed, and refused all at once before anything is built."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from infra.settings import Settings, SettingsError, read
from tests.infra.assembly import ROOT


def context(stage: str = "dev", settings: dict[str, Any] | None = None, **overrides: Any) -> dict[str, Any]:
    return {"stage": stage, "facetrain": {stage: settings or {}}, **overrides}


def problems(**arguments: Any) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        read(context(**arguments))
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_stage_with_nothing_written_gets_productions_defaults() -> None:
    assert read(context("prod")) == Settings("prod")


def test_the_stage_is_dev_unless_chosen() -> None:
    assert read({"facetrain": {"dev": {}, "prod": {}}}).stage == "dev"


@pytest.mark.parametrize("stage", ["dev", "prod", "local"])
def test_cdk_json_holds_every_stage(stage: str) -> None:
    written = json.loads((ROOT / "cdk.json").read_text())["context"]
    assert read({**written, "stage": stage}).stage == stage


def test_only_production_keeps_its_data() -> None:
    written = json.loads((ROOT / "cdk.json").read_text())["context"]
    removable = {stage for stage in written["facetrain"] if read({**written, "stage": stage}).removable}
    assert removable == {"dev", "local"}


def test_every_problem_is_found_at_once() -> None:
    wrong = {"removeable": True, "log_retention_days": 89, "resources": {"spot": "yes"}, "tags": ["a"]}
    assert set(problems(settings=wrong)) == {
        "facetrain.dev.removeable",
        "facetrain.dev.log_retention_days",
        "facetrain.dev.resources.spot",
        "facetrain.dev.tags",
    }


def test_an_unknown_setting_is_told_the_nearest() -> None:
    found = problems(settings={"removeable": True})
    assert 'did you mean "removable"?' in found["facetrain.dev.removeable"]


def test_an_unknown_override_is_no_secret_no_op() -> None:
    assert 'did you mean "image_uri"?' in problems(image_url="x:1")["facetrain.dev.image_url"]


def test_an_unknown_stage_is_told_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r'did you mean "prod"\?'):
        read({"stage": "prd", "facetrain": {"dev": {}, "prod": {}}})


def test_the_cdks_own_context_is_left_alone() -> None:
    own = {"@aws-cdk/aws-iam:minimizePolicies": True, "aws:cdk:enable-path-metadata": True}
    assert read(context() | own) == Settings("dev")


def test_overrides_rank_above_what_is_written_and_take_its_types() -> None:
    settings = read(
        context(
            settings={"removable": False, "resources": {"spot": True, "volume_gb": 50}},
            **{"removable": "true", "resources.spot": "false", "subnets": "subnet-1,subnet-2"},
            security_groups='["sg-1"]',
        )
    )
    assert settings.removable
    assert not settings.resources.spot
    assert settings.resources.volume_gb == 50
    assert settings.subnets == ("subnet-1", "subnet-2")
    assert settings.security_groups == ("sg-1",)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("image_uri", "registry/arcface", "end it in @sha256"),
        ("image_uri", "registry:5000/arcface", "end it in @sha256"),
        ("image_uri", "registry/arcface:latest", "end it in @sha256"),
        ("image_uri", {"yolo5": "registry/yolov5:v1"}, 'did you mean "yolov5"?'),
        ("image_device", "tpu", "none of gpu, cpu"),
        ("image_base", "python", "not an image with its tag"),
        ("image_base", "registry:5000/python", "not an image with its tag"),
        ("log_retention_days", 100, "the closest is 90"),
        ("noncurrent_days", 0, "out of range: at least 1"),
        ("inputs_days", 0, "out of range: at least 1"),
        ("outputs_days", "a year", "not a whole number"),
        ("checkpoint_days", "many", "not a whole number"),
        ("removable", "maybe", "neither true nor false"),
        ("monthly_budget_usd", -1, "not an amount"),
        ("email", "team", "not an e-mail address"),
        ("subnets", ["net-1"], "not the id of a subnet"),
        ("allowed_buckets", "Faces", "not the name of a bucket"),
        ("governance_required", ["legal_bases"], 'did you mean "legal_basis"?'),
        ("governance_required", "contact,expiry", "'expiry' is no key of a manifest's governance"),
        ("resources.instance_type", "ml.g6.xlarg", 'did you mean "ml.g6.xlarge"?'),
        ("resources.instance_type", "ml.p3.2xlarge", "retired"),
    ],
)
def test_a_wrong_value_is_refused_with_the_remedy(name: str, value: Any, said: str) -> None:
    assert said in problems(**{name: value})[f"facetrain.dev.{name}"]


def test_required_governance_is_a_list_or_names_with_commas() -> None:
    wanted = ("legal_basis", "expires_at")
    assert read(context(governance_required="legal_basis,expires_at")).governance_required == wanted
    assert read(context(settings={"governance_required": list(wanted)})).governance_required == wanted


@pytest.mark.parametrize("uri", ["registry/arcface:v1", "registry:5000/a@sha256:" + "0" * 64])
def test_an_image_that_cannot_change_is_taken(uri: str) -> None:
    assert read(context(image_uri=uri)).image_uri == {"arcface": uri}
    by_algorithm = json.dumps({"yolov5": uri})
    assert read(context(image_uri=by_algorithm)).image_uri == {"yolov5": uri}


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"subnets": ["subnet-1"]}, "security_groups"),
        ({"security_groups": ["sg-1"]}, "subnets"),
        ({"monthly_budget_usd": 10}, "email"),
        ({"image_uri": "registry/arcface:v1", "image_device": "cpu"}, "image_device"),
        ({"image_uri": "registry/arcface:v1", "image_base": "python:3.11-slim"}, "image_base"),
        ({"inputs_days": 20, "outputs_days": 30}, "outputs_days"),  # tiering_days
        ({"outputs_days": 90}, "inputs_days"),
        ({"inputs_days": 91, "outputs_days": 90}, "inputs_days"),
        ({"resources": {"max_runtime_hours": 4, "max_wait_hours": 2}}, "resources.max_wait_hours"),
    ],
)
def test_what_is_wrong_together_is_refused(settings: dict[str, Any], path: str) -> None:
    assert set(problems(settings=settings)) == {f"facetrain.dev.{path}"}


def test_data_may_go_before_what_was_made_of_it() -> None:
    settings = read(context(settings={"inputs_days": 30, "outputs_days": 365, "tiering_days": 0}))
    assert (settings.inputs_days, settings.outputs_days) == (30, 365)
    assert read(context(inputs_days=30)).outputs_days is None


@pytest.mark.parametrize("stage", ["Dev", "1st", "a" * 17, "a_b"])
def test_a_stage_that_would_not_fit_a_name_is_refused(stage: str) -> None:
    assert "no name for a stage" in problems(stage=stage)["stage"]


def test_the_app_says_what_is_wrong_and_ends_without_a_traceback() -> None:
    wrong = json.dumps(context(settings={"removeable": True, "email": 1}))
    ended = subprocess.run(
        [sys.executable, "-m", "infra.app"],
        cwd=ROOT,
        env={**os.environ, "CDK_CONTEXT_JSON": wrong},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert [line.partition(":")[0] for line in ended.stderr.splitlines()] == ["SettingsError"] * 2
    assert "facetrain.dev.removeable" in ended.stderr


def test_settings_are_refused_before_the_cdk_is_even_imported() -> None:
    probe = "import sys, infra.app; sys.exit('aws_cdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=False).returncode == 0
