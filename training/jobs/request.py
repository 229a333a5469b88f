"""The hinge: what CreateTrainingJob takes, made from a manifest and a deployment by pure functions."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from training.jobs import contract
from training.jobs.algorithms import ALGORITHMS
from training.jobs.instance_types import has_local_nvme
from training.jobs.limits import RequestError, violations
from training.jobs.manifest import Manifest
from training.jobs.platform import Platform
from training.jobs.uri import S3Uri

DIGEST_LENGTH = 12
RETRIES_AFTER_SERVICE_ERRORS = 3
_NOT_IN_A_TAG = re.compile(
    r"[^\w\s.:/=+\-@]"
)  # documented for Tag.Value: letters, digits, spaces and _.:/=+-@


def job_name(
    platform: Platform,
    location: S3Uri,
    dataset: str,
    revision: str,
    overrides: Mapping[str, Any] | None = None,
) -> str:
    """The name that every copy of one drop leads to, and no other drop.

    revision: the manifest object's version id, or its ETag where the bucket has no versions. Neither a clock
    nor an event's id takes part, so that an event delivered twice names the same job.
    """
    identity = json.dumps([location.bucket, location.key, revision, overrides or {}], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:DIGEST_LENGTH]
    room = contract.JOB_NAME_LIMIT - len(platform.job_prefix) - len(digest) - 2
    label = _label(dataset)[: max(room, 0)].strip("-")
    return "-".join(part for part in (platform.job_prefix, label, digest) if part)


def build_request(
    manifest: Manifest, platform: Platform, job_name: str, *, forgotten: bool = False
) -> dict[str, Any]:
    """Exactly the keyword arguments of CreateTrainingJob. Raises RequestError where a limit is broken.

    forgotten: whether the deployment has a deletion list; a job that learns identities gets it as a channel.
    """
    channels = dict(manifest.channels)
    if forgotten and ALGORITHMS[manifest.algorithm].identities:
        channels[contract.FORGOTTEN_CHANNEL] = platform.deletion_list.folder
    request: dict[str, Any] = {
        "TrainingJobName": job_name,
        "RoleArn": platform.role_arn,
        "AlgorithmSpecification": _algorithm(manifest, platform),
        "HyperParameters": {
            "algorithm": manifest.algorithm,
            **{name: _as_string(value) for name, value in manifest.hyperparameters.items()},
        },
        "Environment": _about(manifest),
        "InputDataConfig": [_channel(manifest, *channel) for channel in sorted(channels.items())],
        "OutputDataConfig": {"S3OutputPath": str(output_folder(platform, manifest.dataset))},
        "CheckpointConfig": {
            "S3Uri": str(checkpoint_folder(platform, manifest.dataset, job_name)),
            "LocalPath": contract.CHECKPOINT_DIR,
        },
        "ResourceConfig": _machines(manifest),
        "StoppingCondition": {"MaxRuntimeInSeconds": round(manifest.resources.max_runtime_hours * 3600)},
        "RetryStrategy": {"MaximumRetryAttempts": RETRIES_AFTER_SERVICE_ERRORS},
        "EnableManagedSpotTraining": manifest.resources.spot,
        "EnableNetworkIsolation": platform.network_isolation,
        "Tags": _tags(manifest, platform),
    }
    if manifest.resources.spot:
        request["StoppingCondition"]["MaxWaitTimeInSeconds"] = round(manifest.resources.max_wait_hours * 3600)
    if platform.kms_key_arn:
        _encrypt(request, platform.kms_key_arn)
    if platform.subnets:
        request["VpcConfig"] = {
            "Subnets": list(platform.subnets),
            "SecurityGroupIds": list(platform.security_groups),
        }
    if problems := violations(request):
        raise RequestError(problems)
    return request


def output_folder(platform: Platform, dataset: str) -> S3Uri:
    """Where SageMaker puts `<job>/output/model.tar.gz`."""
    if platform.results:
        return S3Uri.parse(platform.results)
    return S3Uri(platform.outputs_bucket, f"{contract.OUTPUTS_PREFIX}{dataset}/")


def checkpoint_folder(platform: Platform, dataset: str, job_name: str) -> S3Uri:
    if platform.results:
        return S3Uri.parse(platform.results).join(f"{contract.CHECKPOINTS_PREFIX}{job_name}/")
    return S3Uri(platform.outputs_bucket, f"{contract.CHECKPOINTS_PREFIX}{dataset}/{job_name}/")


def model_artifact(platform: Platform, dataset: str, job_name: str) -> S3Uri:
    """Where the job's model will lie."""
    return output_folder(platform, dataset).join(f"{job_name}/output/model.tar.gz")


def job_record(platform: Platform, dataset: str, job_name: str) -> S3Uri:
    """Where job.json, the job's provenance, lies."""
    return output_folder(platform, dataset).join(f"{job_name}/{contract.JOB_RECORD_NAME}")


def _label(dataset: str) -> str:
    """`dataset` in the letters, digits and single hyphens that a job name may hold."""
    plain = unicodedata.normalize("NFKD", dataset).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-zA-Z0-9]+", "-", plain).strip("-")


def _algorithm(manifest: Manifest, platform: Platform) -> dict[str, Any]:
    metrics = ALGORITHMS[manifest.algorithm].metrics
    return {
        "TrainingImage": platform.images[manifest.algorithm],
        "TrainingInputMode": contract.FILE_MODE,
        "MetricDefinitions": [{"Name": metric.name, "Regex": metric.regex} for metric in metrics],
    }


def _channel(manifest: Manifest, name: str, uri: S3Uri) -> dict[str, Any]:
    """FastFile takes a folder: of names that merely begin alike, as a file's would, it knows nothing."""
    source = {"S3DataType": "S3Prefix", "S3Uri": str(uri), "S3DataDistributionType": "FullyReplicated"}
    streamed = name in contract.STREAMED_CHANNELS and uri.is_folder
    mode = manifest.input_mode if streamed else contract.FILE_MODE
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": mode}


def _machines(manifest: Manifest) -> dict[str, Any]:
    resources = manifest.resources
    return {
        "InstanceType": resources.instance_type,
        "InstanceCount": resources.instance_count,
        "VolumeSizeInGB": resources.volume_gb,
    }


def _encrypt(request: dict[str, Any], key_arn: str) -> None:
    request["OutputDataConfig"]["KmsKeyId"] = key_arn
    if not has_local_nvme(
        request["ResourceConfig"]["InstanceType"]
    ):  # those encrypt in hardware, and refuse a key
        request["ResourceConfig"]["VolumeKmsKeyId"] = key_arn


def _about(manifest: Manifest) -> dict[str, str]:
    """What the trainer writes into the model card, word for word."""
    about = {"dataset": manifest.dataset, **_governance(manifest)}
    limit = contract.ENVIRONMENT_VALUE_LIMIT
    return {contract.ABOUT_PREFIX + name.upper(): value[:limit] for name, value in about.items()}


def _governance(manifest: Manifest) -> dict[str, str]:
    """All but the contact, who may be a person."""
    return {name: value for name, value in manifest.governance.items() if name != "contact"}


def _tags(manifest: Manifest, platform: Platform) -> list[dict[str, str]]:
    values = {
        **platform.tags,
        "facetrain:stage": platform.stage,
        "facetrain:dataset": manifest.dataset,
        f"facetrain:{'inputs' if manifest.location.is_folder else 'manifest'}": str(manifest.location),
        **{f"facetrain:{name.replace('_', '-')}": value for name, value in _governance(manifest).items()},
    }
    return [{"Key": key, "Value": _tag_value(value)} for key, value in values.items()]


def _tag_value(text: str) -> str:
    return _NOT_IN_A_TAG.sub("_", text)[: contract.TAG_VALUE_LIMIT]


def _as_string(value: Any) -> str:
    """A hyperparameter as SageMaker carries it: JSON for numbers and booleans, strings bare."""
    return value if isinstance(value, str) else json.dumps(value)
