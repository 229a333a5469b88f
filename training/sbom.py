"""The image's bill of materials: Debian's packages, added to the Python packages that cyclonedx-py found.

Runs while the image is built, with the image's own dpkg: `sbom.py IMAGE PYTHON.cdx.json > sbom.cdx.json`.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

FIELDS = "${Package}\\t${Version}\\t${Architecture}\\n"


def complete(name: str, bill: dict[str, Any], packages: str, distribution: dict[str, str]) -> dict[str, Any]:
    """The CycloneDX document of the image `name`: `bill`, what dpkg-query told in FIELDS, the interpreter.

    distribution: /etc/os-release, as platform.freedesktop_os_release() reads it.
    """
    system = list(debian_components(packages, distribution))
    if not any(component["name"].startswith("python3.") for component in system):
        system.append(interpreter())
    metadata = bill["metadata"] | {"component": {"type": "container", "name": name, "bom-ref": name}}
    return bill | {"metadata": metadata, "components": bill["components"] + system}


def debian_components(packages: str, distribution: dict[str, str]) -> Iterator[dict[str, str]]:
    vendor, release = distribution["ID"], distribution["VERSION_ID"]
    for line in packages.splitlines():
        name, version, architecture = line.split("\t")
        url = (
            f"pkg:deb/{vendor}/{quote(name, safe='')}@{quote(version, safe='')}"
            f"?arch={architecture}&distro={vendor}-{release}"
        )
        yield {"type": "library", "name": name, "version": version, "purl": url, "bom-ref": url}


def interpreter() -> dict[str, str]:
    """Python itself, where the base image did not take it from Debian."""
    version = platform.python_version()
    url = f"pkg:generic/python@{version}"
    return {"type": "application", "name": "python", "version": version, "purl": url, "bom-ref": url}


if __name__ == "__main__":
    told = subprocess.run(  # noqa: S603  (a list of our own)
        ["dpkg-query", "--show", f"--showformat={FIELDS}"],  # noqa: S607  (wherever the base has it)
        capture_output=True,
        text=True,
        check=True,
    )
    name, python = sys.argv[1:]
    found = json.loads(Path(python).read_text(encoding="utf-8"))
    json.dump(complete(name, found, told.stdout, platform.freedesktop_os_release()), sys.stdout, indent=1)
