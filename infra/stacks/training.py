"""What a job runs as: the execution role."""

import re
from collections.abc import Mapping

from aws_cdk import CfnOutput, Stack, StackSynthesizer
from constructs import Construct

from infra import names
from infra.components.execution_role import ExecutionRole
from infra.settings import Settings
from infra.stacks.storage import StorageStack

# https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
_ECR_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<name>[^:@]+)[:@].+"
)


class TrainingStack(Stack):
    """`role`: what SageMaker assumes for every job. images: URI by algorithm."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        storage: StorageStack,
        images: Mapping[str, str],
        synthesizer: StackSynthesizer | None = None,
    ) -> None:
        super().__init__(scope, name, synthesizer=synthesizer, description="Facetrain: what a job may do")
        self.role = ExecutionRole(
            self,
            "Role",
            settings=settings,
            inputs=storage.inputs,
            outputs=storage.outputs,
            key=storage.key,
            repositories=self._repositories(settings, images),
        )
        CfnOutput(self, "RoleArn", value=self.role.role_arn)

    def _repositories(self, settings: Settings, images: Mapping[str, str]) -> list[str]:
        """ARNs of the repositories to pull from: our own, or those of images which the settings name."""
        return [self._repository_of(settings, algorithm) for algorithm in images]

    def _repository_of(self, settings: Settings, algorithm: str) -> str:
        named = _ECR_URI.fullmatch(settings.image_uri.get(algorithm, ""))
        if named:
            return self._arn(named["name"], region=named["region"], account=named["account"])
        return self._arn(names.repository(settings.stage, algorithm))

    def _arn(self, repository: str, *, region: str | None = None, account: str | None = None) -> str:
        return self.format_arn(
            service="ecr", resource="repository", resource_name=repository, region=region, account=account
        )
