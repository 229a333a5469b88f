"""Several ranks compute what one would: shards of classes, shares of batches, one model written."""

import json
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Mapping
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from tests.arcface import processes
from tests.arcface.examples import write_job, write_pictures
from tests.arcface.test_train import SMALL
from training.arcface.distributed import Cluster, World
from training.arcface.launch import Meeting, free_port, run_ranks
from training.arcface.settings import Settings
from training.arcface.trainer import Job
from training.container.errors import TrainingError
from training.jobs.contract import ContainerPaths


@pytest.mark.parametrize(("count", "ranks"), [(10, 3), (2, 3), (7, 1), (1_000_003, 8)])
def test_shards_cover_everything_once(count: int, ranks: int) -> None:
    shards = [World(rank, ranks).shard(count) for rank in range(ranks)]
    assert shards[0][0] == 0
    assert shards[-1][1] == count
    assert all(last == first for (_, last), (first, _) in pairwise(shards))


def test_hosts_come_from_the_services_file() -> None:
    config = {"current_host": "algo-2", "hosts": ["algo-2", "algo-1"], "network_interface_name": "eth0"}
    cluster = Cluster.from_resource_config(config)
    assert cluster == Cluster(("algo-1", "algo-2"), 1, "eth0")
    assert Meeting.from_environment(cluster, {}) == Meeting("algo-1", 29500, "eth0")
    chosen = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "7"}
    assert Meeting.from_environment(cluster, chosen) == Meeting("127.0.0.1", 7, "eth0")


def test_without_the_services_file_there_is_one_host() -> None:
    assert Cluster.from_resource_config({}) == Cluster()


def test_a_host_that_is_not_among_the_hosts_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"resourceconfig\.json: current_host"):
        Cluster.from_resource_config({"current_host": "algo-3", "hosts": ["algo-1"]})


def start_hosts(base: Path, knobs: Mapping[str, Any], *, writes: bool) -> list[tuple[Path, BaseProcess]]:
    """A job's folders on each of two hosts, and its process there, which tells the file `log` among them."""
    hosts, started = ("algo-1", "algo-2"), []
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name in hosts:
        paths = write_job(base / name, knobs)
        write_pictures(paths.channel("images"), 5, 5)
        resources = {"current_host": name, "hosts": hosts, "network_interface_name": "lo"}
        paths.resource_config.write_text(json.dumps(resources))
        process = processes.start(paths.base, paths.base / "log", environment=meeting, writes=writes)
        started.append((paths.base, process))
    return started


def test_two_hosts_train_one_model_and_agree(tmp_path: Path) -> None:
    hosts = start_hosts(tmp_path, SMALL | {"batch_size": 3, "holdout_fraction": 0.4}, writes=True)
    for _, process in hosts:
        process.join(300)
    first, second = (base for base, _ in hosts)
    log = (first / "log").read_text()
    assert [process.exitcode for _, process in hosts] == [0, 0], log
    assert re.search(r"^start .*hosts=2 ranks=2 backend=gloo .*batch=6", log, re.M)
    agreed = re.findall(r"^ranks_agree=true ranks=2 weights=(\w+)", log, re.M)
    assert len(set(agreed)) == 2  # before training and after it
    told = (second / "log").read_text()
    (same,) = set(re.findall(r"^rank=[01] ranks=2 (loss=\S+ weights=\w+)$", log + told, re.M))
    assert same.endswith(agreed[-1])
    assert "epoch=" not in told  # each figure of the job once
    assert (first / "model" / "model.onnx").exists()
    assert not (second / "model").exists() or not any((second / "model").iterdir())


def test_the_ranks_of_one_host_share_their_pictures_and_train_one_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: processes.FORKS)  # a faster start
    paths = write_job(tmp_path, {})
    write_pictures(paths.channel("images"), 5, 5)
    settings = Settings(network="mbf", batch_size=3, epochs=1, max_steps=2, holdout_fraction=0.4)
    job = Job(paths, settings, hosts=1, scratch=tmp_path)
    worlds = [World(rank, 2, rank, 2) for rank in range(2)]
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert run_ranks(job, worlds, Meeting("127.0.0.1", free_port(), "lo")) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    figures = json.loads((paths.model / "metrics.json").read_text())
    assert (figures["images"], figures["held_out_images"], figures["steps"]) == (15, 10, 2)
    assert not (tmp_path / "pixels").exists()


def test_a_host_that_loses_the_others_says_where_the_cause_is(tmp_path: Path) -> None:
    hosts = start_hosts(tmp_path, SMALL | {"epochs": 1000, "holdout_fraction": 0.4}, writes=False)
    (first, first_process), (second, second_process) = hosts
    processes.wait_for(first / "log", "epoch=1 ", 1, first_process)
    first_process.kill()
    second_process.join(300)
    assert second_process.exitcode == 1
    failure = ContainerPaths(second).failure.read_text()
    assert "rank 1 of 2 does not reach the others" in failure, (second / "log").read_text()
    assert not ContainerPaths(first).failure.exists()


def test_a_rank_that_the_kernel_ends_is_told_of_and_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: processes.FORKS)
    paths = write_job(tmp_path, {})
    write_pictures(paths.channel("images"), 5, 5)
    settings = Settings(network="mbf", batch_size=3, epochs=1000, holdout_fraction=0.4, checkpoint_steps=1)
    job = Job(paths, settings, hosts=1, scratch=tmp_path)

    def kill_one() -> None:
        while not list(paths.checkpoints.glob("step-*")):
            time.sleep(0.05)
        os.kill(multiprocessing.active_children()[-1].pid or 0, signal.SIGKILL)

    killer, before = threading.Thread(target=kill_one), signal.getsignal(signal.SIGTERM)
    killer.start()
    try:
        assert run_ranks(job, [World(0, 2, 0, 2), World(1, 2, 1, 2)], Meeting("127.0.0.1", free_port(), "lo"))
    finally:
        signal.signal(signal.SIGTERM, before)
        killer.join()
    assert paths.failure.read_text().startswith("training was killed, most likely because memory ran out")
