"""One JSON line for each decision. Dataset names and keys are told, what a manifest says of people is not."""

import json
from typing import Any

from botocore.exceptions import ClientError


def decision(what: str, **facts: Any) -> None:
    """`what` was decided, and of what. A fact that is None or empty is left out."""
    line = {"decision": what, **{name: value for name, value in facts.items() if value not in (None, "", [])}}
    print(json.dumps(line, default=str, ensure_ascii=False), flush=True)


def failure(error: Exception, **facts: Any) -> None:
    """What kept a decision from being carried out, with the AWS operation and code where it was AWS."""
    if isinstance(error, ClientError):
        facts |= {"operation": error.operation_name, "code": error.response["Error"]["Code"]}
    decision("failed", error=type(error).__name__, message=str(error), **facts)
