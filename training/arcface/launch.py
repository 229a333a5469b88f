"""From one process on each host to one process for each GPU, all in touch."""

import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from training.arcface import main, trainer
from training.arcface.distributed import DEFAULT_PORT, PATIENCE, Cluster, World
from training.arcface.errors import TrainingError, first_line
from training.arcface.settings import Settings
from training.arcface.stopping import Stop
from training.jobs import contract
from training.jobs.contract import ContainerPaths


@dataclass(frozen=True)
class Meeting:
    """Where the ranks meet, and through which network interface."""

    address: str
    port: int
    interface: str

    @classmethod
    def from_environment(cls, cluster: Cluster, environment: Mapping[str, str]) -> "Meeting":
        """MASTER_ADDR and MASTER_PORT where they are set, else the first host."""
        address = environment.get("MASTER_ADDR") or cluster.hosts[0]
        return cls(address, int(environment.get("MASTER_PORT") or DEFAULT_PORT), cluster.interface)


def launch(
    paths: ContainerPaths,
    config: Mapping[str, Any],
    resources: Mapping[str, Any],
    environment: Mapping[str, str],
) -> int:
    """Trains with every GPU of this host, or with its processors; gives the exit status."""
    cluster = Cluster.from_resource_config(resources)
    meeting = Meeting.from_environment(cluster, environment)
    processes = max(1, torch.cuda.device_count())
    with tempfile.TemporaryDirectory(prefix="facetrain-", ignore_cleanup_errors=True) as scratch:
        job = trainer.Job(paths, Settings.from_config(config), len(cluster.hosts), Path(scratch))
        worlds = [
            World(cluster.current * processes + local, len(cluster.hosts) * processes, local, processes)
            for local in range(processes)
        ]
        if processes == 1:
            return run_rank(job, worlds[0], meeting)
        return run_ranks(job, worlds, meeting)


def run_rank(job: trainer.Job, world: World, meeting: Meeting) -> int:
    """One rank in this process. Raises what ends it."""
    stop = Stop().listen()
    if world.local_size > 1:  # each would take every processor, and they would wait for one another
        torch.set_num_threads(max(1, torch.get_num_threads() // world.local_size))
    with _connected(world, meeting):
        trainer.train(job, world, stop, main.tell if world.rank == 0 else _quiet)
    return 0


def run_ranks(job: trainer.Job, worlds: list[World], meeting: Meeting) -> int:
    """A process for each rank; SIGTERM is passed on to them, and one that fails ends the others."""
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_child, args=(job, world, meeting)) for world in worlds]
    for child in children:
        child.start()
    stop = Stop().listen()
    passed_on = False
    while any(child.is_alive() for child in children):
        if stop.requested and not passed_on:
            passed_on = True
            _signal(children, signal.SIGTERM)
        if any(child.exitcode not in (None, 0, contract.EXIT_STOPPED) for child in children):
            _signal(children, signal.SIGKILL)  # the others wait for it in vain
        time.sleep(0.1)
    codes = [child.exitcode or 0 for child in children]
    return next((code for code in codes if code > 0), 0) or int(any(codes))


def _child(job: trainer.Job, world: World, meeting: Meeting) -> None:
    raise SystemExit(main.guarded(job.paths, lambda: run_rank(job, world, meeting)))


def _signal(children: Sequence[BaseProcess], number: signal.Signals) -> None:
    for child in children:
        if child.is_alive() and child.pid:
            os.kill(child.pid, number)


@contextmanager
def _connected(world: World, meeting: Meeting) -> Iterator[None]:
    """Within it the ranks can talk. Raises TrainingError where they do not find each other."""
    if torch.cuda.is_available():
        torch.cuda.set_device(world.device)
    if world.size == 1:
        yield
        return
    if meeting.interface in {name for _, name in socket.if_nameindex()}:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", meeting.interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", meeting.interface)
    try:
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            init_method=f"tcp://{meeting.address}:{meeting.port}",
            rank=world.rank,
            world_size=world.size,
            timeout=PATIENCE,
        )
    except (distributed.DistError, ValueError, OSError) as error:
        raise TrainingError(
            f"rank {world.rank} of {world.size} did not reach the others at {meeting.address}:{meeting.port} "
            f"({first_line(error)}): see the other hosts' logs, and whether the "
            f"security group lets them talk"
        ) from error
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _quiet(line: str) -> None:
    """The log of every rank but the first."""
