"""One image repository an algorithm, there before any image is pushed."""

from aws_cdk import CfnOutput, Duration, Stack, StackSynthesizer
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra import names
from infra.components.bucket import removal
from infra.components.synthesizer import publishing_role_arn
from infra.settings import Settings

IMAGES_KEPT = 30
# What pushing takes, as the bootstrap's own repository grants it; the login token has no repository.
PUSH = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:DescribeImages",
    "ecr:DescribeRepositories",
    "ecr:GetDownloadUrlForLayer",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
)


class RegistryStack(Stack):
    """`repositories`: by algorithm."""

    def __init__(
        self, scope: Construct, name: str, *, settings: Settings, synthesizer: StackSynthesizer | None = None
    ) -> None:
        super().__init__(scope, name, synthesizer=synthesizer, description="Facetrain: image repositories")
        self.repositories = {
            algorithm: self._repository(algorithm, settings) for algorithm in names.IMAGE_ALGORITHMS
        }

    def _repository(self, algorithm: str, settings: Settings) -> ecr.Repository:
        repository = ecr.Repository(
            self,
            f"Repository-{algorithm}",
            repository_name=names.repository(settings.stage, algorithm),
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            image_scan_on_push=True,
            encryption=ecr.RepositoryEncryption.AES_256,
            lifecycle_rules=_lifecycle(),
            removal_policy=removal(settings),
            empty_on_delete=settings.removable,
        )
        if not settings.local:  # where there is no bootstrap, and so no such role
            self._let_the_cdk_push(repository)
        CfnOutput(self, f"RepositoryUri-{algorithm}", value=repository.repository_uri)
        return repository

    def _let_the_cdk_push(self, repository: ecr.Repository) -> None:
        """The bootstrap's role may push to the bootstrap's repository only; here it may as well."""
        role = iam.ArnPrincipal(publishing_role_arn(self.node))
        repository.add_to_resource_policy(
            iam.PolicyStatement(sid="PushByTheCdk", principals=[role], actions=list(PUSH))
        )


def _lifecycle() -> list[ecr.LifecycleRule]:
    """The newest images stay: the one in use is the last pushed or, after a step back, of the last few."""
    return [
        ecr.LifecycleRule(
            description="What no tag names any more",
            tag_status=ecr.TagStatus.UNTAGGED,
            max_image_age=Duration.days(7),
            rule_priority=1,
        ),
        ecr.LifecycleRule(
            description=f"All but the newest {IMAGES_KEPT}",
            tag_status=ecr.TagStatus.ANY,
            max_image_count=IMAGES_KEPT,
            rule_priority=2,
        ),
    ]
