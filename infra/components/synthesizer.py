"""How stacks reach their assets. See docs/adr/0001-images-in-named-repositories.md."""

import jsii
from aws_cdk import (
    CliCredentialsStackSynthesizer,
    DefaultStackSynthesizer,
    Fn,
    IBoundStackSynthesizer,
    ISynthesisSession,
    Stack,
    StackSynthesizer,
)
from aws_cdk import cloud_assembly_schema as schema
from constructs import Node

from infra.settings import Settings


def synthesizer(settings: Settings) -> StackSynthesizer:
    """The CDK's own, with its bootstrap roles; one machine has none, so there the caller's rights serve."""
    return CliCredentialsStackSynthesizer() if settings.local else DefaultStackSynthesizer()


def publishing_role_arn(node: Node) -> str:
    """The bootstrap's role that pushes images, as `DefaultStackSynthesizer` names it."""
    qualifier = (
        node.try_get_context("@aws-cdk/core:bootstrapQualifier") or DefaultStackSynthesizer.DEFAULT_QUALIFIER
    )
    pattern = DefaultStackSynthesizer.DEFAULT_IMAGE_ASSET_PUBLISHING_ROLE_ARN
    return Fn.sub(pattern.replace("${Qualifier}", qualifier))


class NamedRepositorySynthesizer(DefaultStackSynthesizer):
    """Pushes a stack's images into a named repository that another stack, `registry`, creates.

    `cdk deploy` turns to images before it deploys any stack, and fails where their repository does not exist
    yet. An asset manifest may depend on a stack, and then waits for it: this adds that dependency.
    """

    def __init__(self, *, repository: str, registry: Stack) -> None:
        super().__init__(image_assets_repository_name=repository)
        self._registry = registry

    @jsii.member(jsii_name="reusableBind")
    def reusable_bind(self, stack: Stack) -> IBoundStackSynthesizer:
        """One synthesizer for one stack: the CDK's copy for each would not know of this class."""
        self.bind(stack)
        return self

    @jsii.member(jsii_name="synthesize")
    def synthesize(self, session: ISynthesisSession) -> None:
        super().synthesize(session)
        manifest = f"{self._bound_stack.artifact_id}.assets"
        # As plain values: aws-cdk-lib and a package that it needs both bring `cloud_assembly_schema`, an
        # installer may unpack them in either order, and one's structures are not the other's.
        artifact = {
            "type": schema.ArtifactType.ASSET_MANIFEST,
            "properties": {"file": f"{manifest}.json"},
            "dependencies": [self._registry.artifact_id],
        }
        jsii.invoke(session.assembly, "addArtifact", [manifest, artifact])
