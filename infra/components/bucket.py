"""A bucket as this house keeps them: private, versioned, encrypted with our key, over TLS only, logged."""

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.settings import Settings


def removal(settings: Settings) -> RemovalPolicy:
    """What becomes of a thing that holds data when its stack goes."""
    return RemovalPolicy.DESTROY if settings.removable else RemovalPolicy.RETAIN


def abort_uploads() -> s3.LifecycleRule:
    """Parts of an upload that was never completed are billed and seen by nobody."""
    return s3.LifecycleRule(id="AbortUploads", abort_incomplete_multipart_upload_after=Duration.days(7))


class LogBucket(s3.Bucket):
    """Where the other buckets' access logs go.

    Access logs cannot be delivered to a bucket whose default encryption is a KMS key
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html), hence SSE-S3.
    """

    def __init__(self, scope: Construct, name: str, *, settings: Settings) -> None:
        expiry = s3.LifecycleRule(
            id="ExpireLogs",
            expiration=Duration.days(settings.access_log_days),
            noncurrent_version_expiration=Duration.days(settings.noncurrent_days),
        )
        super().__init__(
            scope,
            name,
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            lifecycle_rules=[expiry, abort_uploads()],
            removal_policy=removal(settings),
            auto_delete_objects=_empties_itself(settings),
        )


class DataBucket(s3.Bucket):
    """A bucket of images or models. `rules`: its own lifecycle, beside the one that all data buckets have."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        key: kms.IKey,
        logs: s3.IBucket,
        rules: Sequence[s3.LifecycleRule] = (),
    ) -> None:
        old_versions = s3.LifecycleRule(
            id="ExpireOldVersions",
            noncurrent_version_expiration=Duration.days(settings.noncurrent_days),
            expired_object_delete_marker=True,
        )
        super().__init__(
            scope,
            name,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=True,  # one call to KMS for many objects, not one each
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            server_access_logs_bucket=logs,
            server_access_logs_prefix=f"{name.lower()}/",
            lifecycle_rules=[old_versions, abort_uploads(), *rules],
            removal_policy=removal(settings),
            auto_delete_objects=_empties_itself(settings),
        )

    def send_events(self) -> None:
        """Tell EventBridge of every object, natively.

        `event_bridge_enabled=True` would add a custom resource, a Lambda and all, for this one property.
        """
        bucket = self.node.default_child
        assert isinstance(bucket, s3.CfnBucket)
        bucket.add_property_override(
            "NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled", True
        )


def _empties_itself(settings: Settings) -> bool:
    """Only an empty bucket can be deleted: a custom resource empties it. One machine just forgets it."""
    return settings.removable and not settings.local
