"""What is in the image, and who can run it."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.arcface.examples import write_job, write_pictures
from tests.container.containers import Containers
from training.jobs.contract import ContainerPaths

pytestmark = pytest.mark.container

NAMED_FOR_GPUS = "FACETRAIN_TEST_GPU_IMAGE"
ROOT = Path(__file__).resolve().parents[2]
LARGEST = 1_500_000_000  # bytes, for CPUs
BILL = "/opt/facetrain/sbom.cdx.json"
# As small as a whole job can be.
KNOBS = {
    "network": "mbf",
    "batch_size": 4,
    "epochs": 1,
    "lr": 0.01,
    "compile": "off",
    "holdout_fraction": 0.4,
}
ANYBODY = ("--user", "4711:4712")  # an id that the image does not know
# With exec, which Docker leaves out, for torch.compile loads from there what it compiled.
NOTHING_WRITABLE = ("--read-only", "--tmpfs", "/tmp:exec")
COMPILES = """
import torch
values = torch.linspace(0, 1, 1000)
work = lambda x: (x.sin() * x + 1).relu()
assert torch.allclose(torch.compile(work, fullgraph=True)(values), work(values))
print("the same")
"""


@pytest.fixture
def about(containers: Containers) -> dict[str, Any]:
    """What the engine says of the image."""
    found: dict[str, Any] = json.loads(containers.docker("image", "inspect", containers.image).stdout)[0]
    return found


def shell(containers: Containers, script: str, *options: str) -> str:
    """What a script says in the image; it fails where a command of it does."""
    done = containers.run("-euc", script, options=("--entrypoint", "sh", *options))
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(containers: Containers, code: str, *options: str) -> str:
    done = containers.run("-c", code, options=("--entrypoint", "python3", *options))
    assert done.returncode == 0, done.stderr
    return done.stdout


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "training" / "requirements.txt").read_text(), re.M)
    assert found
    return found[1]


@pytest.fixture
def job(tmp_path: Path) -> ContainerPaths:
    """Five people with five pictures each, in folders that anybody may write to."""
    paths = write_job(tmp_path / "ml", KNOBS)
    write_pictures(paths.channel("images"), 5, 5)
    for folder in (paths.model, paths.output, paths.checkpoints):
        folder.mkdir()
        folder.chmod(0o777)
    paths.base.chmod(0o755)
    return paths


def test_it_is_for_sagemakers_machines(about: dict[str, Any]) -> None:
    assert (about["Os"], about["Architecture"]) == ("linux", "amd64")


def test_its_labels_say_what_it_is(about: dict[str, Any]) -> None:
    prefix = "org.opencontainers.image."
    labels = {name.removeprefix(prefix): value for name, value in about["Config"]["Labels"].items()}
    assert labels["title"] == "facetrain-arcface"
    assert "SageMaker" in labels["description"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", labels["version"])
    assert {"revision", "source", "licenses"} <= labels.keys()


def test_it_is_small(about: dict[str, Any]) -> None:
    assert about["Size"] <= LARGEST


def test_a_user_that_is_not_root_is_there_to_be_taken(containers: Containers) -> None:
    assert shell(containers, "id -u facetrain; id -un 1000").split() == ["1000", "facetrain"]


def test_train_is_on_the_path(containers: Containers) -> None:
    told = containers.run("--help", options=("--entrypoint", "train"))
    assert told.stdout.startswith("usage: train")


def test_pip_stayed_behind(containers: Containers) -> None:
    assert shell(containers, "command -v pip pip3 || true") == ""
    done = containers.run("-m", "pip", options=("--entrypoint", "python3"))
    assert "No module named pip" in done.stderr


def test_what_built_it_left_nothing(containers: Containers) -> None:
    assert shell(containers, "find /tmp /var/lib/apt/lists /wheels -type f 2>/dev/null || true") == ""


def test_the_image_for_cpus_holds_no_cuda(containers: Containers) -> None:
    assert python(containers, "import torch; print(torch.version.cuda)") == "None\n"
    found = shell(containers, "find /opt/venv -iname '*nvidia*' -o -name 'libcu*' -o -name 'triton'")
    assert not [path for path in found.splitlines() if "/torch/" not in path]


def test_the_bill_of_materials_names_every_package(containers: Containers) -> None:
    bill = json.loads(shell(containers, f"cat {BILL}"))
    assert bill["bomFormat"] == "CycloneDX"
    versions = {component["name"].lower(): component["version"] for component in bill["components"]}
    assert versions["torch"].partition("+")[0] == pinned("torch")
    packages = shell(containers, "dpkg-query --show --showformat '${Package} ${Version}\\n'").splitlines()
    assert {name: versions.get(name) for name in dict(map(str.split, packages))} == dict(
        map(str.split, packages)
    )
    code = "from importlib.metadata import distributions as all; print(*(it.name.lower() for it in all()))"
    assert set(python(containers, code).split()) <= versions.keys()
    assert all(component["purl"].startswith("pkg:") for component in bill["components"])


def test_anybody_can_compile_without_a_writable_root(containers: Containers) -> None:
    assert python(containers, COMPILES, *ANYBODY, *NOTHING_WRITABLE) == "the same\n"


def test_it_trains_without_an_argument(containers: Containers, job: ContainerPaths) -> None:
    done = containers.run(base=job.base)
    assert done.returncode == 0, done.stderr
    assert (job.model / "model.onnx").exists()


@pytest.mark.skipif(NAMED_FOR_GPUS not in os.environ, reason=f"{NAMED_FOR_GPUS} names no image")
def test_the_image_for_gpus_trains_without_one(containers: Containers, job: ContainerPaths) -> None:
    done = containers.run(base=job.base, image=os.environ[NAMED_FOR_GPUS])
    assert done.returncode == 0, done.stderr
    assert re.search(r"^hardware gpus=0 .* cuda=13\.", done.stderr, re.M)


def test_anybody_can_train_without_a_writable_root(containers: Containers, job: ContainerPaths) -> None:
    done = containers.run("train", options=(*ANYBODY, *NOTHING_WRITABLE), base=job.base)
    assert done.returncode == 0, done.stderr
    assert (job.model / "model.onnx").stat().st_uid == int(ANYBODY[1].partition(":")[0])
    assert (job.output_data / "report.html").exists()
