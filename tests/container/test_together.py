"""Two containers on a network of their own train one model, as the hosts of one job do."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.container.containers import Containers
from tests.container.jobs import faces_at, job
from training.jobs.contract import ContainerPaths

pytestmark = pytest.mark.container

HOSTS = ("algo-1", "algo-2")
LOSS = re.compile(r"^epoch=.* loss=(\S+)", re.M)


def start(containers: Containers, faces: Path, base: Path, **knobs: Any) -> list[tuple[ContainerPaths, str]]:
    """Each host's folders and container, on a network that leads nowhere else."""
    network = containers.network("--internal")
    started = []
    for host in HOSTS:
        paths = job(base / host, batch_size=4, **knobs)
        resources = {"current_host": host, "hosts": HOSTS, "network_interface_name": "eth0"}
        paths.resource_config.write_text(json.dumps(resources))
        options = (*faces_at(faces), "--network", network, "--hostname", host, "--network-alias", host)
        started.append((paths, containers.start("train", options=options, base=paths.base)))
    return started


def test_two_containers_train_one_model_and_it_is_the_one_that_one_trains(
    containers: Containers, faces: Path, tmp_path: Path
) -> None:
    few = {"lr": 0.002, "epochs": 1}
    alone = job(tmp_path / "alone", batch_size=4, accumulate=2, **few)  # in the parts that the two take
    first, second = start(containers, faces, tmp_path, **few)
    assert [containers.wait(name) for _, name in (first, second)] == [0, 0], containers.log(first[1])
    logs = [containers.log(name) for _, name in (first, second)]
    said = [re.findall(rf"^rank={rank} ranks=2 (loss=\S+ weights=\w+)$", logs[rank], re.M) for rank in (0, 1)]
    assert len(said[0]) == 1
    assert said[0] == said[1]
    assert " hosts=2 ranks=2 backend=gloo " in logs[0]
    assert (first[0].model / "model.onnx").is_file()
    assert not list(second[0].model.iterdir())

    done = containers.run("train", options=faces_at(faces), base=alone.base)
    assert done.returncode == 0, done.stderr
    together, by_itself = ([float(loss) for loss in LOSS.findall(log)] for log in (logs[0], done.stderr))
    assert len(together) == 4
    # Sums are rounded in another order, and each step makes the difference greater: one more or one thread
    # fewer in a single container does as much.
    assert together[0] == pytest.approx(by_itself[0], rel=1e-4)
    assert together == pytest.approx(by_itself, rel=0.01)


def test_the_death_of_one_ends_the_other_with_a_sentence(
    containers: Containers, faces: Path, tmp_path: Path
) -> None:
    (paths, first), (_, second) = start(containers, faces, tmp_path, epochs=1000)
    containers.wait_for(first, " step=2/")
    containers.docker("kill", second)
    assert containers.wait(first, seconds=60) == 1
    assert "Traceback" not in containers.log(first)
    assert paths.failure.read_text().startswith("rank 0 of 2 does not reach the others (algo-1:29500; ")
    assert list(paths.checkpoints.glob("step-*"))
