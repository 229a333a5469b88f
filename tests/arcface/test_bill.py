"""Debian's packages in the image's bill of materials (CycloneDX, package URLs)."""

import platform

from training.sbom import complete

DEBIAN = {"ID": "debian", "VERSION_ID": "12"}
PYTHON = {
    "bomFormat": "CycloneDX",
    "metadata": {"tools": {"components": []}},
    "components": [
        {"type": "library", "name": "torch", "version": "2.13.0", "purl": "pkg:pypi/torch@2.13.0"}
    ],
}
TOLD = "g++\t4:12.2.0-3\tamd64\ntzdata\t2026a-0+deb12u1\tall\n"


def test_packages_of_both_kinds_are_in_it() -> None:
    names = [
        component["name"] for component in complete("facetrain-arcface", PYTHON, TOLD, DEBIAN)["components"]
    ]
    assert names[:3] == ["torch", "g++", "tzdata"]


def test_a_package_url_is_written_as_the_specification_says() -> None:
    """https://github.com/package-url/purl-spec: names and versions are percent-encoded."""
    bill = complete("facetrain-arcface", PYTHON, TOLD, DEBIAN)
    urls = [component["purl"] for component in bill["components"][1:3]]
    assert urls == [
        "pkg:deb/debian/g%2B%2B@4%3A12.2.0-3?arch=amd64&distro=debian-12",
        "pkg:deb/debian/tzdata@2026a-0%2Bdeb12u1?arch=all&distro=debian-12",
    ]


def test_an_interpreter_that_debian_does_not_know_is_named() -> None:
    last = complete("facetrain-arcface", PYTHON, TOLD, DEBIAN)["components"][-1]
    assert last["purl"] == f"pkg:generic/python@{platform.python_version()}"
    debians = TOLD + "python3.11\t3.11.2-6+deb12u6\tamd64\n"
    assert complete("facetrain-arcface", PYTHON, debians, DEBIAN)["components"][-1]["name"] == "python3.11"


def test_it_is_the_image_that_is_described() -> None:
    metadata = complete("facetrain-arcface", PYTHON, TOLD, DEBIAN)["metadata"]
    assert metadata["component"]["type"] == "container"
    assert metadata["tools"] == {"components": []}
