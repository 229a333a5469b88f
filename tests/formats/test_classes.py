"""The classes of a dataset's YAML, and what is said where nc and names do not fit together."""

from typing import Any

import pytest

from training.formats.classes import is_dataset, names_of
from training.formats.errors import DataError


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"nc": 2, "names": ["face", "mask"]}, ("face", "mask")),
        ({"names": {1: "mask", 0: "face"}}, ("face", "mask")),
        ({"nc": 2}, ("class0", "class1")),
        ({"nc": "2", "names": {"0": "face", "1": "mask"}}, ("face", "mask")),  # as programs write YAML
    ],
)
def test_classes_are_named_by_their_numbers(document: dict[str, Any], names: tuple[str, ...]) -> None:
    assert is_dataset(document)
    assert names_of(document, "faces.yaml") == names


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"nc": 3, "names": ["face"]}, "faces.yaml: nc is 3, but names has 1: make them agree"),
        ({"names": {0: "face", 2: "mask"}}, "faces.yaml: names has no class 1: number them from 0"),
        ({"names": "face"}, "faces.yaml: names must be a list such as"),
        ({"names": None}, "faces.yaml: names must be a list such as"),
        ({"nc": 0}, "faces.yaml: nc must be the number of the classes, such as 1"),
        ({"nc": [1], "names": ["face"]}, "faces.yaml: nc must be the number of the classes, such as 1"),
        ({"nc": "1", "names": ["a", "b"]}, "faces.yaml: nc is 1, but names has 2: make them agree"),
        ({"nc": 10**9}, "faces.yaml: nc is 1000000000: a detector has at most 10,000 classes"),
    ],
)
def test_what_does_not_name_classes_is_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        names_of(document, "faces.yaml")


def test_a_networks_yaml_is_none_of_a_dataset() -> None:
    assert not is_dataset({"nc": 80, "backbone": [], "head": []})
    assert not is_dataset(["face"])
