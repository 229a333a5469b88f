"""The image cannot be built everywhere; what can be checked without building is."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)$", re.M)


def test_the_images_packages_are_those_the_project_is_tested_with() -> None:
    image = dict(PIN.findall((ROOT / "training" / "requirements.txt").read_text()))
    tested = dict(PIN.findall((ROOT / "constraints.txt").read_text()))
    assert image
    assert image == {name: tested[name] for name in image}


def test_every_package_the_trainer_imports_is_in_the_image() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "training" / "arcface").rglob("*.py"))
    imported = set(re.findall(r"^(?:from|import) (torch|numpy|PIL|simplejpeg|onnx\w*)", sources, re.M))
    distributions = {"PIL": "pillow"}
    installed = dict(PIN.findall((ROOT / "training" / "requirements.txt").read_text()))
    assert {distributions.get(name, name) for name in imported} <= installed.keys()
    assert len(imported) >= 4


def test_signals_reach_the_trainer() -> None:
    """Only the exec form of ENTRYPOINT replaces the shell that would swallow SIGTERM."""
    dockerfile = (ROOT / "training" / "Dockerfile").read_text()
    assert re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.M) == [
        '["python3", "/opt/facetrain/training/train"]'
    ]
    assert not re.search(r"^CMD", dockerfile, re.M)


def test_train_is_executable_by_itself() -> None:
    train = ROOT / "training" / "train"
    assert train.stat().st_mode & 0o111
    assert train.read_text().startswith("#!/usr/bin/env python3\n")
