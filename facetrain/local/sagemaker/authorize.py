"""Who calls, and may they: signatures and policies, both decided inside MiniStack by the private routes."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import urllib3

from facetrain.local.routes import AUTHENTICATE_PATH, AUTHORIZE_PATH
from facetrain.local.sagemaker.errors import ServiceError
from facetrain.local.sagemaker.wire import Request

Context = Mapping[str, str | list[str]]
_ACCESS_KEY = re.compile(r"Credential=([^/,\s]+)/")
# What SageMaker needs of the execution role to pull an image (developer guide, "CreateTrainingJob API:
# Execution Role Permissions").
PULL_ACTIONS = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


@dataclass(frozen=True)
class Caller:
    arn: str
    account: str
    access_key_id: str


class Authority(Protocol):
    """Knows callers by their signatures, and what callers and roles are allowed."""

    def authenticate(self, request: Request) -> Caller: ...

    def decide(self, who: Mapping[str, str], action: str, resource: str, context: Context) -> str: ...


class BridgeAuthority:
    """Asks MiniStack. `endpoint` is its address, `token` the bearer secret of its private routes."""

    def __init__(self, endpoint: str, token: str, ca_bundle: str | None) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self._pool = urllib3.PoolManager(maxsize=8, ca_certs=ca_bundle, timeout=30.0)

    def authenticate(self, request: Request) -> Caller:
        key = _ACCESS_KEY.search(request.headers.get("authorization", ""))
        if key is None:
            raise ServiceError("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
        status, answer = self.post(
            AUTHENTICATE_PATH,
            {
                "method": request.method,
                "path": request.path,
                "query": request.query,
                "headers": dict(request.headers),
                "body": base64.b64encode(request.body).decode(),
            },
        )
        if status != 200:
            raise ServiceError(answer["code"], answer["message"], status)
        return Caller(answer["principal_arn"], answer["account"], key.group(1))

    def decide(self, who: Mapping[str, str], action: str, resource: str, context: Context) -> str:
        question = {**who, "action": action, "resource": resource, "context": context}
        _status, answer = self.post(AUTHORIZE_PATH, question)
        return str(answer["decision"])

    def post(self, path: str, document: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """POST to a private route; ServiceError(InternalFailure) where MiniStack cannot be asked."""
        try:
            response = self._pool.request(
                "POST", self._endpoint + path, body=json.dumps(document), headers=self._headers, retries=2
            )
            answer = json.loads(response.data)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            place = urlsplit(self._endpoint).netloc
            raise ServiceError("InternalFailure", f"No answer from {place}{path}: {error}", 500) from error
        if response.status not in (200, 403):
            raise ServiceError("InternalFailure", f"{path} answered {response.status}: {answer}", 500)
        return response.status, answer


def require(authority: Authority, caller: Caller, action: str, resource: str, context: Context) -> None:
    """Raise AccessDeniedException, worded as AWS does, unless the caller may take the action."""
    decision = authority.decide({"access_key_id": caller.access_key_id}, action, resource, context)
    if decision == "allowed":
        return
    why = (
        "with an explicit deny in an identity-based policy"
        if decision == "explicitDeny"
        else f"because no identity-based policy allows the {action} action"
    )
    on = f" on resource: {resource}" if resource != "*" else ""
    raise ServiceError(
        "AccessDeniedException", f"User: {caller.arn} is not authorized to perform: {action}{on} {why}"
    )


def role_may_pull(authority: Authority, role_arn: str, repository_arn: str) -> bool:
    """Whether the execution role holds every permission that pulling from the repository takes."""
    who = {"role_arn": role_arn}
    needed = [("ecr:GetAuthorizationToken", "*"), *((action, repository_arn) for action in PULL_ACTIONS)]
    return all(authority.decide(who, action, resource, {}) == "allowed" for action, resource in needed)


def create_context(request: Mapping[str, Any]) -> Context:
    """The condition keys of CreateTrainingJob (service authorization reference, Amazon SageMaker)."""
    resources, network = request.get("ResourceConfig") or {}, request.get("VpcConfig") or {}
    output = request.get("OutputDataConfig") or {}
    single = {
        "sagemaker:VolumeKmsKey": resources.get("VolumeKmsKeyId"),
        "sagemaker:OutputKmsKey": output.get("KmsKeyId"),
        "sagemaker:MaxRuntimeInSeconds": (request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds"),
        "sagemaker:NetworkIsolation": bool(request.get("EnableNetworkIsolation")),
        "sagemaker:InterContainerTrafficEncryption": bool(
            request.get("EnableInterContainerTrafficEncryption")
        ),
    }
    context: dict[str, str | list[str]] = {
        key: _word(value) for key, value in single.items() if value is not None
    }
    lists = {
        "sagemaker:InstanceTypes": [resources["InstanceType"]] if resources.get("InstanceType") else [],
        "sagemaker:VpcSubnets": network.get("Subnets") or [],
        "sagemaker:VpcSecurityGroupIds": network.get("SecurityGroupIds") or [],
    }
    return {**context, **{key: value for key, value in lists.items() if value}, **tag_context(request)}


def tag_context(request: Mapping[str, Any]) -> Context:
    """aws:RequestTag and aws:TagKeys of a request that gives tags."""
    tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}
    keys = [*tags, *(request.get("TagKeys") or ())]
    given: dict[str, str | list[str]] = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    return {**given, "aws:TagKeys": keys} if keys else given


def resource_context(tags: Mapping[str, str]) -> Context:
    """aws:ResourceTag and sagemaker:ResourceTag of a job that exists."""
    prefixes = ("aws:ResourceTag/", "sagemaker:ResourceTag/")
    return {prefix + key: value for prefix in prefixes for key, value in tags.items()}


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
