"""Requests checked against the service model, in the words that AWS's own front end uses.

botocore's validator checks types, required members and minimum lengths. The service checks all that the model
says: maxima, patterns and enumerations as well. Here is that part, for any shape.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from facetrain.local.sagemaker.errors import ServiceError, ValidationError

# Java's classes, which Python's re does not know. \w has the underscore too, which every such pattern allows.
_JAVA_CLASSES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    r"\p{Alnum}": "a-zA-Z0-9",
}
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "String"),
    "boolean": ((bool,), "Boolean"),
    "integer": ((int,), "Integer"),
    "long": ((int,), "Long"),
    "float": ((int, float), "Float"),
    "double": ((int, float), "Double"),
    "timestamp": ((int, float), "Timestamp"),
    "list": ((list,), "List"),
    "map": ((dict,), "Map"),
    "structure": ((dict,), "Structure"),
}


@cache
def pattern(java: str) -> re.Pattern[str]:
    """The model's (Java) pattern for Python."""
    for name, ours in _JAVA_CLASSES.items():
        java = java.replace(name, ours)
    return re.compile(java)


def check(shape: Shape, value: Any) -> None:
    """Raise SerializationException for a wrong type, ValidationException with every broken constraint."""
    _check_types(shape, value, "")
    problems = list(violations(shape, value))
    if problems:
        count = f"{len(problems)} validation error{'s' * (len(problems) > 1)} detected: "
        raise ValidationError(count + "; ".join(problems))


def violations(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    """Every constraint of `shape` that `value` breaks, worded as AWS words it."""
    for constraint in _broken(shape, value):
        yield f"Value {_shown(value)} at '{path}' failed to satisfy constraint: {constraint}"
    if isinstance(shape, StructureShape):
        yield from _member_violations(shape, value, path)
    elif isinstance(shape, ListShape):
        for number, item in enumerate(value, 1):
            yield from violations(shape.member, item, f"{path}.{number}.member")
    elif isinstance(shape, MapShape):
        yield from _map_violations(shape, value, path)


def _member_violations(shape: StructureShape, value: dict[str, Any], path: str) -> Iterator[str]:
    for name, member in shape.members.items():
        inner = f"{path}.{_camel(name)}" if path else _camel(name)
        if value.get(name) is not None:
            yield from violations(member, value[name], inner)
        elif name in shape.required_members:
            yield f"Value null at '{inner}' failed to satisfy constraint: Member must not be null"


def _map_violations(shape: MapShape, value: dict[str, Any], path: str) -> Iterator[str]:
    for word, part, items in (("keys", shape.key, value), ("value", shape.value, value.values())):
        if any(True for item in items for _ in _broken(part, item)):
            rules = ", ".join(_rules(part))
            yield (
                f"Value {_shown(value)} at '{path}' failed to satisfy constraint: "
                f"Map {word} must satisfy constraint: [{rules}]"
            )


def _broken(shape: Shape, value: Any) -> Iterator[str]:
    """The constraints of this shape alone, not of what it holds."""
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    sized = isinstance(value, str | list | dict)
    measure: float = len(value) if sized else value
    if low is not None and measure < low:
        yield _limit(sized, "greater", low)
    if high is not None and measure > high:
        yield _limit(sized, "less", high)
    if shape.metadata.get("enum") and value not in shape.metadata["enum"]:
        yield _enumeration(shape)
    java = shape.metadata.get("pattern")
    if java and not pattern(java).fullmatch(value):
        yield f"Member must satisfy regular expression pattern: {java}"


def _rules(shape: Shape) -> Iterator[str]:
    if "max" in shape.metadata:
        yield _limit(True, "less", shape.metadata["max"])
    if "min" in shape.metadata:
        yield _limit(True, "greater", shape.metadata["min"])
    if "pattern" in shape.metadata:
        yield f"Member must satisfy regular expression pattern: {shape.metadata['pattern']}"


def _limit(sized: bool, than: str, bound: int) -> str:
    return f"Member must have {'length' if sized else 'value'} {than} than or equal to {bound}"


def _enumeration(shape: Shape) -> str:
    return f"Member must satisfy enum value set: [{', '.join(shape.metadata['enum'])}]"


def _check_types(shape: Shape, value: Any, path: str) -> None:
    accepted, name = _TYPES[shape.type_name]
    wrong = not isinstance(value, accepted) or (isinstance(value, bool) and name != "Boolean")
    if wrong:
        kind = {"str": "STRING_VALUE", "int": "NUMBER_VALUE", "float": "NUMBER_VALUE"}.get(
            type(value).__name__, f"{str(value).upper()}_VALUE" if isinstance(value, bool) else "A structure"
        )
        raise ServiceError("SerializationException", f"{kind} can not be converted to {name} (at '{path}')")
    for inner, part, item in _children(shape, value, path):
        if item is not None:
            _check_types(part, item, inner)


def _children(shape: Shape, value: Any, path: str) -> Iterator[tuple[str, Shape, Any]]:
    if isinstance(shape, StructureShape):
        for name in shape.members.keys() & value.keys():
            yield f"{path}.{_camel(name)}".lstrip("."), shape.members[name], value[name]
    elif isinstance(shape, ListShape):
        yield from ((f"{path}.{n}.member", shape.member, item) for n, item in enumerate(value, 1))
    elif isinstance(shape, MapShape):
        yield from ((f"{path}.{key}", shape.value, item) for key, item in value.items())


def _camel(name: str) -> str:
    return name[0].lower() + name[1:]


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text if len(text) <= 300 else text[:300] + '…'}'"
