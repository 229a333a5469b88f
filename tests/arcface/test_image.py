"""The image cannot be built everywhere; what can be checked without building is."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "training" / "Dockerfile").read_text()
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)$", re.M)


def test_the_images_packages_are_those_the_project_is_tested_with() -> None:
    image = dict(PIN.findall((ROOT / "training" / "requirements.txt").read_text()))
    tested = dict(PIN.findall((ROOT / "constraints.txt").read_text()))
    assert image
    assert image == {name: tested[name] for name in image}


def test_the_packages_that_find_faces_are_those_the_project_is_tested_with() -> None:
    """OpenCV without windows is another package of the same version."""
    image = dict(PIN.findall((ROOT / "training" / "requirements-detector.txt").read_text()))
    tested = dict(PIN.findall((ROOT / "constraints.txt").read_text()))
    assert image == {
        "insightface": tested["insightface"],
        "opencv-python-headless": tested["opencv-python"],
    }


def test_yolov5s_packages_are_of_the_same_versions_and_ultralytics_is_in_its_image_alone() -> None:
    image = dict(PIN.findall((ROOT / "training" / "requirements-yolov5.txt").read_text()))
    tested = dict(PIN.findall((ROOT / "constraints.txt").read_text()))
    assert image.keys() == {"ultralytics", "torchvision", "opencv-python-headless"}
    assert image["opencv-python-headless"] == tested["opencv-python"]
    assert _stages_with("requirements-yolov5.txt") == ["packages-yolov5"]
    assert _stages_with("from=packages-yolov5") == ["bill-yolov5", "yolov5"]


def _stages_with(text: str) -> list[str]:
    stages = re.split(r"^FROM .* AS ", DOCKERFILE, flags=re.M)[1:]
    return [stage.split()[0] for stage in stages if text in stage]


def test_what_makes_the_bill_of_materials_is_of_the_same_versions() -> None:
    bill = dict(PIN.findall((ROOT / "training" / "requirements-sbom.txt").read_text()))
    tested = dict(PIN.findall((ROOT / "constraints.txt").read_text()))
    both = bill.keys() & tested.keys()
    assert both
    assert {name: bill[name] for name in both} == {name: tested[name] for name in both}


def test_every_package_the_trainer_imports_is_in_the_image() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "training" / "arcface").rglob("*.py"))
    imported = set(re.findall(r"^(?:from|import) (torch|numpy|PIL|simplejpeg|onnx\w*)", sources, re.M))
    distributions = {"PIL": "pillow"}
    installed = dict(PIN.findall((ROOT / "training" / "requirements.txt").read_text()))
    assert {distributions.get(name, name) for name in imported} <= installed.keys()
    assert len(imported) >= 4


@pytest.mark.parametrize(
    "name",
    ["requirements.txt", "requirements-detector.txt", "requirements-yolov5.txt", "requirements-sbom.txt"],
)
def test_every_version_that_is_installed_is_pinned(name: str) -> None:
    lines = (ROOT / "training" / name).read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert wanted
    assert [line for line in wanted if not PIN.fullmatch(line)] == []


def test_what_the_image_is_copied_from_is_let_in_and_nothing_else() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M)
    let_in = re.findall(r"^!(\S+)$", (ROOT / "training" / ".dockerignore").read_text(), re.M)
    assert sorted({name for names in copied for name in names.split()}) == sorted(let_in)
    assert all((ROOT / "training" / name).exists() for name in let_in)


def test_the_image_has_the_projects_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r"^ARG VERSION=(.*)$", DOCKERFILE, re.M)) == {project["version"]}


def test_the_image_is_the_last_stage_and_every_stage_is_for_sagemakers_machines() -> None:
    stages = re.findall(r"^FROM (?:--platform=(\S+) )?(\S+) AS (\S+)$", DOCKERFILE, re.M)
    assert stages[-1][2] == "arcface"
    assert {place for place, base, _ in stages if base.startswith("$")} == {"linux/amd64"}


def test_nothing_has_to_be_pulled_to_read_the_dockerfile() -> None:
    """`# syntax=` would pull a front end, which a machine without a way to Docker Hub cannot."""
    assert "syntax=" not in DOCKERFILE


def test_signals_reach_the_trainer() -> None:
    """Only the exec form of ENTRYPOINT replaces the shell that would swallow SIGTERM."""
    assert re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.M) == [
        '["python3", "/opt/facetrain/training/train"]'
    ]
    assert not re.search(r"^CMD", DOCKERFILE, re.M)


def test_train_is_executable_by_itself() -> None:
    train = ROOT / "training" / "train"
    assert train.stat().st_mode & 0o111
    assert train.read_text().startswith("#!/usr/bin/env python3\n")
