"""Jobs as processes, killed and moved: nothing is lost, and nothing is different in the end."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from facetrain.datasets.pack import pack
from tests.arcface import processes
from tests.arcface.examples import write_job, write_pictures
from tests.arcface.test_resume import assert_equal_states
from tests.arcface.test_train import TRAIN, environment
from training.arcface.launch import free_port
from training.container import checkpoint
from training.jobs import contract
from training.jobs.contract import ContainerPaths

KNOBS = {
    "network": "mbf",
    "epochs": 4,
    "batch_size": 4,
    "lr": 0.05,
    "holdout_fraction": 0.4,
    "checkpoint_steps": 1,
    "checkpoint_seconds": 1e-6,
    "log_interval": 1,
    "compile": "off",
}
# Of the long version, on the real network: FACETRAIN_KILLS=20 pytest tests/arcface/test_killed.py
KILLS = int(os.environ.get("FACETRAIN_KILLS", "0"))


def job(base: Path, **others: int) -> ContainerPaths:
    paths = write_job(base, KNOBS | others)
    write_pictures(paths.channel("images"), 5, 5)
    return paths


def ended(paths: ContainerPaths) -> dict[str, Any]:
    """The newest checkpoint, without what depends on the machine's speed."""
    found = checkpoint.newest(paths.checkpoints, print)
    assert found is not None
    found[1]["progress"].pop("curve", None)
    return found[1]


def run_to_the_end(paths: ContainerPaths) -> None:
    process = processes.start(paths.base, paths.base / "log")
    process.join(120)
    assert process.exitcode == 0, (paths.base / "log").read_text()


def packed(base: Path, mode: str) -> ContainerPaths:
    """The same job of shards, with what the service says of how they come."""
    paths = job(base)
    photos = paths.channel("images").rename(base / "photos")
    pack(photos, paths.channel("images"), shard_bytes=200_000)
    channels = {"images": {"TrainingInputMode": mode}}
    paths.input_data_config.write_text(json.dumps(channels), encoding="utf-8")
    return paths


def test_a_job_killed_again_and_again_ends_bit_for_bit_like_an_undisturbed_one(tmp_path: Path) -> None:
    """The one reads copies of its shards, the other streams them: that shows in nothing, either."""
    undisturbed = packed(tmp_path / "undisturbed", contract.FILE_MODE)
    killed = packed(tmp_path / "killed", contract.FAST_FILE_MODE)
    run_to_the_end(undisturbed)
    chance = random.Random(7)
    for life in range(5):
        log = tmp_path / f"log-{life}"
        process = processes.start(killed.base, log)
        processes.wait_for(log, "epoch=", chance.randint(0, 3), process)
        time.sleep(chance.uniform(0, 0.05))  # while a step is made, a checkpoint written, one removed …
        process.kill()
        process.join(60)
    run_to_the_end(killed)
    assert_equal_states(ended(killed), ended(undisturbed))
    assert not [path.name for path in killed.checkpoints.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(not KILLS, reason="takes minutes: FACETRAIN_KILLS says how often to kill")
def test_the_real_command_killed_again_and_again_too(tmp_path: Path) -> None:
    undisturbed, killed = job(tmp_path / "undisturbed"), job(tmp_path / "killed")
    command = [sys.executable, str(TRAIN), "train"]
    began = time.monotonic()
    subprocess.run(command, env=environment(undisturbed.base), check=True)
    seconds, moments = time.monotonic() - began, random.Random()
    for _ in range(KILLS):
        with subprocess.Popen(command, env=environment(killed.base)) as process:
            time.sleep(moments.uniform(0.1, 1) * seconds)
            process.kill()
    subprocess.run(command, env=environment(killed.base), check=True)
    assert_equal_states(ended(killed), ended(undisturbed))
    mine, theirs = (paths.model / "backbone.pth" for paths in (killed, undisturbed))
    assert mine.read_bytes() == theirs.read_bytes()


# -- As torchrun starts it ---------------------------------------------------------------------------------


def start_ranks(paths: ContainerPaths, size: int) -> list[BaseProcess]:
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    world = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    return [
        processes.start(
            paths.base,
            paths.base / f"log-{size}",
            environment=meeting | world | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(size)
    ]


def test_a_job_stopped_on_two_ranks_goes_on_with_three(tmp_path: Path) -> None:
    paths = job(tmp_path, epochs=40)
    log = tmp_path / "log-2"
    two = start_ranks(paths, 2)
    processes.wait_for(log, "step=2/", 1, two[0])
    for process in two:
        os.kill(process.pid or 0, signal.SIGTERM)
    for process in two:
        process.join(60)
    assert [process.exitcode for process in two] == [contract.EXIT_STOPPED] * 2, log.read_text()
    before = ended(paths)["progress"]

    three = start_ranks(paths, 3)
    for process in three:
        process.join(120)
    log = tmp_path / "log-3"
    assert [process.exitcode for process in three] == [0] * 3, log.read_text()
    assert f"resumed step={before['step']}/" in log.read_text()
    after = ended(paths)
    assert after["batch"] == 8  # of two ranks with four each
    assert len(after["rng"]) == 3
    losses = [epoch["loss"] for epoch in after["progress"]["epochs"]]
    assert sum(losses[-10:]) / 10 < losses[0] / 2  # steps of so few images vary much
