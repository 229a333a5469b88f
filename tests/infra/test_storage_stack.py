"""The buckets: private, encrypted with our key, over TLS only, versioned, logged, and heard of."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.infra.assembly import Assembly, Resource


@pytest.fixture(params=["Inputs", "Outputs"])
def bucket(request: pytest.FixtureRequest, stage: Assembly) -> Resource:
    return stage.named("AWS::S3::Bucket", request.param)


def rules(bucket: Resource) -> Mapping[str, Mapping[str, Any]]:
    return {rule["Id"]: rule for rule in bucket.properties["LifecycleConfiguration"]["Rules"]}


def test_objects_are_encrypted_with_our_key_and_few_calls_to_it(bucket: Resource, stage: Assembly) -> None:
    (encryption,) = bucket.properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    key = stage.named("AWS::KMS::Key", "Key").name
    assert encryption == {
        "BucketKeyEnabled": True,
        "ServerSideEncryptionByDefault": {
            "SSEAlgorithm": "aws:kms",
            "KMSMasterKeyID": {"Fn::GetAtt": [key, "Arn"]},
        },
    }


def test_versions_are_kept_for_a_time(bucket: Resource) -> None:
    assert bucket.properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert rules(bucket)["ExpireOldVersions"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 30


def test_access_is_logged_under_the_buckets_name(bucket: Resource, stage: Assembly) -> None:
    logs = stage.named("AWS::S3::Bucket", "AccessLogs").name
    logging = bucket.properties["LoggingConfiguration"]
    assert logging["DestinationBucketName"] == {"Ref": logs}
    assert logging["LogFilePrefix"] in {"inputs/", "outputs/"}


def test_no_bucket_is_public_or_has_lists_of_its_own(stage: Assembly) -> None:
    for bucket in stage.of_kind("AWS::S3::Bucket"):
        assert set(bucket.properties["PublicAccessBlockConfiguration"].values()) == {True}, bucket
        (ownership,) = bucket.properties["OwnershipControls"]["Rules"]
        assert ownership == {"ObjectOwnership": "BucketOwnerEnforced"}, bucket


def test_no_bucket_answers_without_tls_1_2(stage: Assembly) -> None:
    policies = {it.properties["Bucket"]["Ref"]: it for it in stage.of_kind("AWS::S3::BucketPolicy")}
    for bucket in stage.of_kind("AWS::S3::Bucket"):
        statements = policies[bucket.name].properties["PolicyDocument"]["Statement"]
        denied = [it["Condition"] for it in statements if it["Effect"] == "Deny"]
        assert {"Bool": {"aws:SecureTransport": "false"}} in denied, bucket
        assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in denied, bucket


def test_uploads_that_never_end_are_cleared(stage: Assembly) -> None:
    for bucket in stage.of_kind("AWS::S3::Bucket"):
        assert rules(bucket)["AbortUploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def test_checkpoints_expire_and_models_move(stage: Assembly) -> None:
    outputs = rules(stage.named("AWS::S3::Bucket", "Outputs"))
    assert outputs["ExpireCheckpoints"]["Prefix"] == "checkpoints/"
    assert outputs["ExpireCheckpoints"]["ExpirationInDays"] == 30
    assert outputs["TierModels"]["Prefix"] == "outputs/"
    (transition,) = outputs["TierModels"]["Transitions"]
    assert transition == {"StorageClass": "INTELLIGENT_TIERING", "TransitionInDays": 30}


def test_nobodys_data_expires_by_itself_unless_the_deployment_says_so(prod: Assembly) -> None:
    inputs, outputs = (rules(prod.named("AWS::S3::Bucket", name)) for name in ("Inputs", "Outputs"))
    assert set(inputs) == {"ExpireOldVersions", "AbortUploads"}
    assert set(outputs) == {*inputs, "ExpireCheckpoints", "TierModels"}


def test_data_expires_when_the_policy_says(full: Assembly) -> None:
    expired = {"ExpireInputs": ("inputs/", 365), "ExpireOutputs": ("outputs/", 730)}
    for bucket, (rule, (prefix, days)) in zip(("Inputs", "Outputs"), expired.items(), strict=True):
        found = rules(full.named("AWS::S3::Bucket", bucket))[rule]
        assert (found["Prefix"], found["ExpirationInDays"], found["Status"]) == (prefix, days, "Enabled")


def test_the_inputs_tell_eventbridge_natively(stage: Assembly) -> None:
    notification = stage.named("AWS::S3::Bucket", "Inputs").properties["NotificationConfiguration"]
    assert notification == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    assert not [it for it in stage.resources if it.kind == "Custom::S3BucketNotifications"]


def test_productions_storage_cannot_be_deleted_by_a_slip(prod: Assembly, dev: Assembly) -> None:
    protected = {
        assembly.stage: assembly.json("manifest.json")["artifacts"][f"Facetrain-{assembly.stage}-Storage"][
            "properties"
        ].get("terminationProtection", False)
        for assembly in (prod, dev)
    }
    assert protected == {"prod": True, "dev": False}
