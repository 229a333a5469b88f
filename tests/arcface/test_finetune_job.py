"""A job that starts from the model.tar.gz of an earlier one."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.arcface.examples import TinyNetwork, write_job, write_pictures
from training.arcface.distributed import World
from training.arcface.settings import Settings
from training.arcface.trainer import Job, train
from training.container.stopping import Stop
from training.jobs.contract import ContainerPaths
from training.jobs.forgotten import NOTE_NAME

SETTINGS = Settings(epochs=1, batch_size=4, holdout_fraction=0, precision="fp32", lr=1e-6)


def tiny(_: Settings) -> nn.Module:
    torch.manual_seed(0)
    return TinyNetwork()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a job on the identities "0", "1" and "2" leaves, as the service packs it."""
    base = tmp_path_factory.mktemp("earlier")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.arcface.trainer.fresh_backbone", tiny)
        run(base, identities=3)
    earlier = {"job": "first", "dataset": "staff", "from": {"jobs": ["before"]}}
    (ContainerPaths(base).model / "lineage.json").write_text(json.dumps(earlier))
    (ContainerPaths(base).model / NOTE_NAME).write_text('{"what": "learnt from a person"}')
    with tarfile.open(base / "model.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(ContainerPaths(base).model, arcname=".")
    return base / "model.tar.gz"


def run(base: Path, identities: int, weights: Path | None = None) -> list[str]:
    """The job's log."""
    paths, log = write_job(base, {}), list[str]()
    write_pictures(paths.channel("images"), identities, 3)
    if weights:
        paths.channel("weights").mkdir(exist_ok=True)
        (paths.channel("weights") / weights.name).write_bytes(weights.read_bytes())
    train(Job(paths, SETTINGS, hosts=1, scratch=base), World(), Stop(), log.append, log.append)
    return log


def test_a_job_with_more_identities_starts_from_the_earlier_ones_model(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.arcface.trainer.fresh_backbone", tiny)
    log = run(tmp_path, identities=5, weights=model)
    assert "weights loaded from model.tar.gz" in log
    assert "fine_tuning identities known=3 new=2" in log


def test_a_model_says_which_models_came_before_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.arcface.trainer.fresh_backbone", tiny)
    log = run(tmp_path, identities=5, weights=model)
    made = json.loads((ContainerPaths(tmp_path).model / "lineage.json").read_text())
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    said = "learnt from a person"
    jobs = ["first", "before"]
    assert made["from"] == {"name": "model.tar.gz", "sha256": digest, "jobs": jobs, "forgotten": said}
    assert json.loads((ContainerPaths(tmp_path).model / NOTE_NAME).read_text()) == {"what": said}
    assert f"weights model.tar.gz {said}" in log
    weights = ContainerPaths(tmp_path).model / "backbone.pth"
    assert made["files"]["backbone.pth"] == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_a_resumed_job_keeps_the_centres_it_has_learnt(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.arcface.trainer.fresh_backbone", tiny)
    run(tmp_path, identities=5, weights=model)
    log = run(tmp_path, identities=5, weights=model)
    assert any(line.startswith("resumed step=") for line in log)
    assert not any(line.startswith("fine_tuning") for line in log)
