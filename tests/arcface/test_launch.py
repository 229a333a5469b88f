"""Which ranks a host starts, or which one it was started as."""

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.arcface.examples import write_job
from training.arcface import launch
from training.arcface.distributed import Cluster, World
from training.arcface.launch import free_port, joined, refuse_more_ranks_than, worlds_of_this_host
from training.arcface.trainer import Job
from training.container.errors import TrainingError
from training.container.main import main
from training.jobs import contract

# What `torchrun --nnodes 2 --nproc-per-node 4` tells the second process of its second host.
TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "algo-1",
    "MASTER_PORT": "29400",
}


def test_a_process_that_torchrun_starts_is_the_rank_it_is_told() -> None:
    assert joined(TORCHRUN) == World(rank=5, size=8, local_rank=1, local_size=4)


def test_a_process_started_otherwise_is_no_rank_yet() -> None:
    assert joined({"MASTER_ADDR": "algo-1", "MASTER_PORT": "29400", "LOCAL_RANK": "1"}) is None


@pytest.mark.parametrize(
    "missing", ["WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"]
)
def test_half_of_torchruns_variables_are_refused(missing: str) -> None:
    with pytest.raises(TrainingError, match=missing):
        joined({name: value for name, value in TORCHRUN.items() if name != missing})


@pytest.mark.parametrize(
    "wrong", [{"RANK": "8"}, {"RANK": "first"}, {"LOCAL_RANK": "4"}, {"LOCAL_RANK": "-1"}]
)
def test_variables_that_name_no_rank_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(TrainingError, match="start with torchrun"):
        joined(TORCHRUN | wrong)


def test_a_rank_for_which_there_is_no_gpu_is_refused() -> None:
    refuse_more_ranks_than(0, World(3, 4, 3, 4))
    refuse_more_ranks_than(4, World(3, 4, 3, 4))
    with pytest.raises(TrainingError, match=r"4 processes on a host with 2 GPUs: .* --nproc-per-node 2"):
        refuse_more_ranks_than(2, World(3, 4, 3, 4))


def test_each_host_starts_its_own_part_of_the_ranks() -> None:
    second = Cluster(("algo-1", "algo-2"), current=1)
    assert worlds_of_this_host(second, 2) == [World(2, 4, 0, 2), World(3, 4, 1, 2)]


def test_a_free_port_can_be_taken() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as server:
        assert server.getsockname()[1] == port


@pytest.mark.parametrize(("arguments", "resumes"), [([], True), (["--resume", "never"], False)])
def test_only_the_command_line_makes_a_job_begin_anew(
    arguments: list[str], resumes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def run_rank(job: Job, *_: Any) -> int:
        seen.append(job.resume)
        return 0

    monkeypatch.setattr(launch, "run_rank", run_rank)
    write_job(tmp_path, {}).channel("images").mkdir()
    assert main(["train", *arguments], {contract.BASE_DIR_VARIABLE: str(tmp_path)}) == 0
    assert seen == [resumes]
