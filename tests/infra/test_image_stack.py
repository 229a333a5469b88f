"""The image ends up in its own named repository, under a tag that never moves."""

import json
import re
from typing import Any

import pytest

from tests.infra.assembly import ROOT, Assembly
from tests.infra.conftest import Synthesize
from training.jobs.algorithms import ALGORITHMS

NAMED = "registry.example.com/faces:2026-11"


def image_asset(assembly: Assembly, algorithm: str = "arcface") -> Any:
    assets = assembly.json(f"Facetrain-{assembly.stage}-Image-{algorithm}.assets.json")
    (image,) = assets["dockerImages"].values()
    return image


def plain(value: Any) -> str:
    """A value of a template as text, references in it as ${name}."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        return "".join(plain(part) for part in value["Fn::Join"][1])
    return str(value["Fn::Sub"]) if "Fn::Sub" in value else f"${{{value.get('Ref', 'something else')}}}"


def image_uri(assembly: Assembly, algorithm: str = "arcface") -> str:
    """As the parameter holds it, its account and region as ${…}."""
    (parameter,) = (it for it in assembly.of_kind("AWS::SSM::Parameter") if it.stack == f"Image-{algorithm}")
    assert parameter.properties["Name"] == f"/facetrain/{assembly.stage}/images/{algorithm}"
    return plain(parameter.properties["Value"])


def images(assembly: Assembly) -> dict[str, str]:
    """What the launcher is told."""
    function = assembly.named("AWS::Lambda::Function", "Function").properties
    platform = json.loads(plain(function["Environment"]["Variables"]["FACETRAIN_PLATFORM"]))
    return dict(platform["images"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_repository_takes_no_second_image_under_a_tag(stage: Assembly, algorithm: str) -> None:
    repository = stage.named("AWS::ECR::Repository", f"Repository{algorithm}").properties
    assert repository["RepositoryName"] == f"facetrain-{stage.stage}/{algorithm}"
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}


def test_the_image_is_pushed_to_that_repository_by_the_hash_of_its_sources(dev: Assembly) -> None:
    image = image_asset(dev)
    (destination,) = image["destinations"].values()
    assert destination["repositoryName"] == "facetrain-dev/arcface"
    assert image["source"]["directory"] == f"asset.{destination['imageTag']}"
    assert image["source"]["platform"] == "linux/amd64"


def test_the_deployment_refers_to_the_very_image_that_is_pushed(dev: Assembly) -> None:
    (destination,) = image_asset(dev)["destinations"].values()
    assert image_uri(dev).endswith(f"/{destination['repositoryName']}:{destination['imageTag']}")


def test_the_parameter_the_output_and_the_launcher_name_the_same_image(stage: Assembly) -> None:
    output = stage.templates["Image-arcface"]["Outputs"]["ImageUri"]["Value"]
    assert images(stage) == {algorithm: image_uri(stage, algorithm) for algorithm in ALGORITHMS}
    assert plain(output) == image_uri(stage)
    assert "something else" not in image_uri(stage)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_algorithms_image_is_the_dockerfiles_target_of_that_name(dev: Assembly, algorithm: str) -> None:
    assert image_asset(dev, algorithm)["source"]["dockerBuildTarget"] == algorithm


def test_images_are_built_for_gpus_where_nothing_else_is_said(dev: Assembly) -> None:
    source = image_asset(dev)["source"]
    assert source["dockerBuildArgs"] == {"DEVICE": "gpu"}


def test_settings_choose_device_and_base(synthesize: Synthesize) -> None:
    base = f"registry.example.com/python@sha256:{'0' * 64}"
    source = image_asset(synthesize("dev", image_device="cpu", image_base=base))["source"]
    assert source["dockerBuildArgs"] == {"DEVICE": "cpu", "BASE": base}


def test_the_cdk_pushes_no_attestations_beside_the_image() -> None:
    """Its command line sees to it (cdk-assets, docker.ts); the pinned version must go on doing so."""
    program = ROOT / "node_modules" / "aws-cdk" / "lib" / "index.js"
    assert 'BUILDX_NO_DEFAULT_ATTESTATIONS: "1"' in program.read_text(encoding="utf-8")


def test_pushing_waits_for_the_repository(dev: Assembly) -> None:
    artifacts = dev.json("manifest.json")["artifacts"]
    assert artifacts["Facetrain-dev-Image-arcface.assets"]["dependencies"] == ["Facetrain-dev-Registry"]
    assert "Facetrain-dev-Registry" in artifacts["Facetrain-dev-Image-arcface"]["dependencies"]


def test_no_job_can_start_before_its_image_is_there(dev: Assembly) -> None:
    artifacts = dev.json("manifest.json")["artifacts"]
    assert "Facetrain-dev-Image-arcface" in artifacts["Facetrain-dev-Launcher"]["dependencies"]


def test_the_bootstraps_role_may_push_there_and_nobody_else(dev: Assembly) -> None:
    policy = dev.named("AWS::ECR::Repository", "Repositoryarcface").properties["RepositoryPolicyText"]
    (statement,) = policy["Statement"]
    (destination,) = image_asset(dev)["destinations"].values()
    assert statement["Principal"] == {"AWS": {"Fn::Sub": destination["assumeRoleArn"]}}
    assert {"ecr:PutImage", "ecr:DescribeImages", "ecr:DescribeRepositories"} <= set(statement["Action"])


@pytest.mark.parametrize("stage", ["dev", "local"])
def test_an_image_that_is_named_is_not_built(synthesize: Synthesize, stage: str) -> None:
    assembly = synthesize(stage, image_uri=NAMED)
    assert assembly.json(f"Facetrain-{stage}-Image-arcface.assets.json")["dockerImages"] == {}
    assert image_uri(assembly) == NAMED
    assert images(assembly) == {"arcface": NAMED}  # what is neither named nor built is not offered


def test_a_job_may_pull_the_named_image_from_where_it_lies(synthesize: Synthesize) -> None:
    registry = "1" * 12 + ".dkr.ecr.eu-west-1.amazonaws.com"
    assembly = synthesize("dev", image_uri=f"{registry}/team/faces@sha256:{'0' * 64}")
    resource = assembly.statements("Training")["PullImage"]["Resource"]
    assert resource["Fn::Join"][1][-1] == f":ecr:eu-west-1:{'1' * 12}:repository/team/faces"


def test_one_machine_names_the_image_by_its_sources_and_needs_no_docker(local: Assembly) -> None:
    assert local.json("Facetrain-local-Image-arcface.assets.json")["dockerImages"] == {}
    assert re.fullmatch(
        r"\$\{AWS::AccountId\}\.dkr\.ecr\.\$\{AWS::Region\}\.\$\{AWS::URLSuffix\}"
        r"/facetrain-local/arcface:[0-9a-f]{64}",
        image_uri(local),
    )
