"""Which image trains one algorithm: built from training/Dockerfile, or named by the settings."""

from pathlib import Path

from aws_cdk import CfnOutput, FileSystem, Stack, StackSynthesizer
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra import names
from infra.settings import Settings
from training.jobs import contract

CONTEXT = Path(__file__).resolve().parents[2] / "training"
# Beside training/.dockerignore, which the CDK reads too: what must never change an image's hash.
IGNORED = ["**/__pycache__", "**/*.pyc", "**/.DS_Store", "**/*_cache"]


class ImageStack(Stack):
    """`uri`: the image, by a tag that is the hash of its sources in a repository whose tags never change."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        algorithm: str,
        synthesizer: StackSynthesizer | None = None,
    ) -> None:
        super().__init__(scope, name, synthesizer=synthesizer, description=f"Facetrain: {algorithm}'s image")
        self.uri = settings.image_uri.get(algorithm) or self._uri(settings, algorithm)
        ssm.StringParameter(
            self,
            "Uri",
            parameter_name=contract.image_parameter(settings.stage, algorithm),
            string_value=self.uri,
            description=f"The image that trains {algorithm}",
        )
        CfnOutput(self, "ImageUri", value=self.uri)

    def _uri(self, settings: Settings, algorithm: str) -> str:
        if settings.local:  # named and not built: jobs that run as processes need no Docker
            registry = f"{self.account}.dkr.ecr.{self.region}.{self.url_suffix}"
            tag = FileSystem.fingerprint(str(CONTEXT), exclude=IGNORED)
            return f"{registry}/{names.repository(settings.stage, algorithm)}:{tag}"
        image = ecr_assets.DockerImageAsset(
            self,
            "Image",
            directory=str(CONTEXT),
            exclude=IGNORED,
            target=algorithm,
            build_args=_build_args(settings),
            # No attestations beside the image, which some of ECR's consumers trip over: the CDK's command
            # line builds with BUILDX_NO_DEFAULT_ATTESTATIONS by itself (a test holds it to that).
            platform=ecr_assets.Platform.LINUX_AMD64,
        )
        return image.image_uri


def _build_args(settings: Settings) -> dict[str, str]:
    base = {"BASE": settings.image_base} if settings.image_base else {}
    return {"DEVICE": settings.image_device, **base}
