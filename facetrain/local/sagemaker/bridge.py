"""Two private routes inside MiniStack's process, for what its public API does not offer.

- `authorize`: iam:SimulatePrincipalPolicy of MiniStack 1.5 leaves out ContextEntries, permissions boundaries
  and session policies, so a PassRole statement with an iam:PassedToService condition would always be denied.
  This asks the evaluator that MiniStack itself enforces with.
- `events`: PutEvents refuses the source "aws.sagemaker" from every caller, as AWS does; only AWS's own
  services may use it, and here that is us.

Each route takes (body, account, region) and returns its JSON answer; the wrapper that serves MiniStack mounts
them behind its bearer secret. MiniStack is imported inside the routes: it reads its environment at import.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from facetrain.local.routes import AUTHORIZE_PATH, EVENTS_PATH

Route = Callable[[Mapping[str, Any], str, str], dict[str, Any]]


def authorize(body: Mapping[str, Any], account: str, region: str) -> dict[str, Any]:
    """Whether a caller's access key, or a role, may take an action.

    body: "access_key_id" of a caller or "role_arn", "action", "resource", "context" {condition key: value}.
    Answers {"decision": "allowed" | "explicitDeny" | "implicitDeny"}, SimulatePrincipalPolicy's words.
    """
    from ministack.core import iam_evaluator as iam  # noqa: PLC0415

    if "role_arn" in body:
        role = body["role_arn"].rpartition("/")[2]
        arn, kind, keys = body["role_arn"], "AssumedRole", {}
        policies = iam._gather_role_policies(role, account)
        limits: list[Any] = []
    else:
        caller = iam.resolve_principal(body["access_key_id"], account)
        if isinstance(caller, iam.AuthError):
            return {"decision": "implicitDeny"}
        if caller.policies is None:  # the account's root
            return {"decision": "allowed"}
        arn, kind, keys = caller.arn, caller.type, caller.keys
        policies, limits = caller.policies, caller.limits
    context = iam.EvalContext(
        principal_arn=arn,
        principal_type=kind,
        principal_account=account,
        action=body["action"],
        resource_arn=body["resource"],
        region=region,
        source_ip="127.0.0.1",
        secure_transport=True,
        service_context={key.lower(): value for key, value in body.get("context", {}).items()},
        principal_keys=keys,
    )
    decisions = {"Allow": "allowed", "Deny": "explicitDeny", "ImplicitDeny": "implicitDeny"}
    return {"decision": decisions[iam.evaluate(context, policies, *limits).decision]}


def events(body: Mapping[str, Any], account: str, region: str) -> dict[str, Any]:  # noqa: ARG001
    """PutEvents for entries whose source is an AWS service; the answer is PutEvents' own."""
    from ministack.services import eventbridge  # noqa: PLC0415

    _status, _headers, answer = eventbridge._put_events(dict(body), allow_aws_source=True)
    parsed: dict[str, Any] = json.loads(answer)
    return parsed


ROUTES: Mapping[str, Route] = {AUTHORIZE_PATH: authorize, EVENTS_PATH: events}
